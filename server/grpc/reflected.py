"""What reflection tells of: the services of this project, and those that are Google's by name.

The latter are in a pool of their own (`hub.protos_of_others`), and reflection asks one pool. So the
files of all services are copied into a pool that nothing else uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor


def pool_of(files: Iterable[FileDescriptor]) -> descriptor_pool.DescriptorPool:
    """Return a pool with copies of files and of all that they import."""
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()
    for file in files:
        _add(pool, file, added)
    return pool


def _add(pool: descriptor_pool.DescriptorPool, file: FileDescriptor, added: set[str]) -> None:
    if file.name in added:
        return
    added.add(file.name)
    for needed in file.dependencies:
        _add(pool, needed, added)
    copied = FileDescriptorProto()
    file.CopyToProto(copied)
    pool.AddSerializedFile(copied.SerializeToString())
