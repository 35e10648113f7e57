"""How good the output is, as far as it can be told without a reference."""
