"""What training and serving share: identities, registry, bases, engine, client.

Nothing is imported here, so that `import hub` costs nothing.
"""

__version__ = "0.1.0"
