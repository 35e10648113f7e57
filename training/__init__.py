"""Corpus to adapter to evidence: everything that happens before an adapter is served."""
