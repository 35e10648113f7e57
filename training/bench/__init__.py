"""How fast an adapter is trained here, and by transformers' Trainer on the same work."""
