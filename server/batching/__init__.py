"""Waiting requests to finished ones: the queue, the batch, and the thread that runs them."""
