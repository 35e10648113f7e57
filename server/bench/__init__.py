"""Measurements on random weights: `hub bench engine` and `hub bench residency`.

Random weights of a model's dimensions cost the same time as trained ones, and need no download.
"""
