"""Encoder-decoder inference: one quantized base, many adapters in one batch.

Import from the rooms: `hub.engine.requests` needs no torch, `hub.engine.engine` does.
"""
