"""Digests of large files, remembered for as long as the files stay as they are.

A file is known by its place, size, times and inode. The time of change of the inode is among them,
which no tool sets back. A file that was written a moment before it was read is not remembered: it
could change again within the resolution of the clock.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final

from hub.bases.headers import TensorPlace, read_header

FOLDER: Final = "digests"
_LARGE: Final = 32 * 2**20
"""From this size on, reading a file again takes longer than looking it up."""
_SETTLED_NS: Final = 2 * 10**9
_CHUNK: Final = 4 * 2**20

Stamp = tuple[int, ...]


class DigestMemory:
    """Digests of files and of the tensors in them; kept in memory, those of large files on disk."""

    def __init__(self, cache: Path) -> None:
        """Take the folder that the hub keeps its caches in; it need not exist."""
        self._folder = cache / FOLDER

    def file(self, path: Path) -> str:
        """Return a file's sha256 in hex."""
        return str(self._look_up(path, "file", _hash_file))

    def tensors(self, path: Path) -> Mapping[str, str]:
        """Return the sha256 of the values of every tensor in a safetensors file, by name.

        Raises:
            CorruptBaseError: The file cannot be read.
        """
        return dict(self._look_up(path, "tensors", _hash_tensors))

    def _look_up(self, path: Path, kind: str, compute: Callable[[Path, Stamp], Any]) -> Any:
        path = path.resolve()
        before = _stamp(path)
        if path.stat().st_size < _LARGE:
            return compute(path, before)
        found = self._recall(path, kind, before)
        if found is None:
            settled = time.time_ns() - max(before[1:3]) > _SETTLED_NS
            found = compute(path, before)
            if settled and _stamp(path) == before:
                self._keep(path, kind, before, found)
        return found

    def _record(self, path: Path, kind: str) -> Path:
        name = hashlib.sha256(os.fsencode(path)).hexdigest()
        return self._folder / f"{name}.{kind}.json"

    def _recall(self, path: Path, kind: str, stamp: Stamp) -> Any:
        try:
            content = json.loads(self._record(path, kind).read_text(encoding="utf-8"))
            return content["value"] if tuple(content["stamp"]) == stamp else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _keep(self, path: Path, kind: str, stamp: Stamp, value: Any) -> None:
        """Write a record; a cache that cannot be written costs time, nothing else."""
        content = {"path": str(path), "stamp": stamp, "value": value}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=self._folder, prefix="new-", delete=False
            ) as file:
                json.dump(content, file)
            os.replace(file.name, self._record(path, kind))
        except OSError:
            return


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


@lru_cache(maxsize=256)
def _hash_file(path: Path, stamp: Stamp) -> str:
    """Hash a file once for as long as its stamp stays the same."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@lru_cache(maxsize=256)
def _hash_tensors(path: Path, stamp: Stamp) -> Mapping[str, str]:
    buffer = bytearray(_CHUNK)
    with path.open("rb", buffering=0) as stream:
        places = read_header(path)
        return {name: _hash_place(stream, place, buffer) for name, place in places.items()}


def _hash_place(stream: BinaryIO, place: TensorPlace, buffer: bytearray) -> str:
    sha256, view = hashlib.sha256(), memoryview(buffer)
    stream.seek(place.begin)
    left = place.bytes
    while left:
        count = stream.readinto(view[: min(left, len(view))])  # type: ignore[attr-defined]
        if not count:
            raise OSError(f"{place.file} became shorter while it was read")
        sha256.update(view[:count])
        left -= count
    return sha256.hexdigest()
