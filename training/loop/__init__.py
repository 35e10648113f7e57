"""From an adapted model and examples to trained weights."""
