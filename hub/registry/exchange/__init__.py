"""Adapters in from elsewhere: found, read, converted, compared with PEFT, published."""
