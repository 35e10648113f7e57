"""The server's edge: messages ↔ protobuf, errors ↔ status, health and reflection."""
