"""Canaries: which version serves a request, and when the one that is tried is rolled back."""
