"""Adapter folders of every kind, each read in a room of its own."""
