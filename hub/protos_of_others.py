"""The pool of protocol messages whose names belong to somebody else.

The server speaks Google Cloud Translation v3, whose messages have the same full names in Google's
own package. In one process both cannot be in protobuf's default pool: the second import fails. So
the server's are in a pool of their own, with copies of the standard messages that they use.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from google.protobuf import any_pb2, descriptor_pool, empty_pb2, timestamp_pb2
from google.rpc import status_pb2

_STANDARD: Final = (any_pb2, empty_pb2, timestamp_pb2, status_pb2)


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """Return the pool; generated code adds its files to it."""
    made = descriptor_pool.DescriptorPool()
    for module in _STANDARD:
        made.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    return made
