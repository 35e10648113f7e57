"""Google Cloud Translation v3, for clients that are written for it."""
