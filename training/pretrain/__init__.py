"""Pre-training of small many-to-many base models: what `hub bases build` runs."""
