"""Tokenizers by family; `hub.bases.tokenizer.load_tokenizer` picks the one of a base."""
