"""Post-edits: what people made of translations, kept for measuring and for training."""
