"""Serving: request → translation → metrics, over one base model in memory."""
