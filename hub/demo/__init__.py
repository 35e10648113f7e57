"""The whole of the hub in one run: train, publish, serve, translate, measure.

The demo drives the same commands that a user would type, each as a process of its own, and talks
to the server over gRPC and HTTP; it has no way in that a user has not.
"""
