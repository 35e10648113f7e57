"""Adapters that were read once, on disk in the form that is served.

What leaves host memory is not lost: reading it again takes a fraction of a load from the registry,
which hashes the adapter's files, checks every number and quantizes. The bytes lie in one file
without a name, which is gone with the process; their sha256 stays in memory, so that nothing is
served but what this process has checked and written. Whatever goes wrong here costs time only: the
adapter is then read from the registry.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from hub.engine.adapters import HostAdapter
from hub.engine.forms import ServingForm, flatten, restore
from hub.registry import AdapterVersion

_log = logging.getLogger("adapterhub.server")


@dataclass(frozen=True, slots=True)
class _Kept:
    offset: int
    form: ServingForm
    sha256: bytes

    @property
    def end(self) -> int:
        return self.offset + self.form.nbytes


class Spill:
    """Reads adapters, from its own file when it has them; any thread may call it."""

    def __init__(
        self,
        read: Callable[[AdapterVersion], HostAdapter],
        budget_bytes: int,
        folder: Path | None = None,
    ) -> None:
        """Open the file, which takes disk as it fills.

        Args:
            read: Reads and checks an adapter from the registry.
            budget_bytes: Most bytes of the file; 0 for no file.
            folder: Whose disk to use; the system's folder for such files if it cannot be.
        """
        self._read = read
        self._budget = budget_bytes
        self._kept: dict[str, _Kept] = {}  # the least recently used first
        self._gate = threading.Lock()
        self._file = _nameless_file(folder) if budget_bytes else None

    def __call__(self, version: AdapterVersion) -> HostAdapter:
        """Return an adapter.

        Raises:
            HubError: The registry's copy cannot be read or served.
        """
        adapter = self._recall(version.digest)
        if adapter is None:
            adapter = self._read(version)
            self._keep(version.digest, adapter)
        return adapter

    def close(self) -> None:
        """Give the disk back."""
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return len(self._kept)

    def _recall(self, digest: str) -> HostAdapter | None:
        with self._gate:
            kept = self._kept.pop(digest, None)
            if kept is None:
                return None
            self._kept[digest] = kept
        try:
            data = self._load(kept)
        except (OSError, ValueError) as error:
            self._forget(digest, kept, f"cannot be read: {error}")
            return None
        if hashlib.sha256(_bytes(data)).digest() == kept.sha256:
            return restore(kept.form, data)
        self._forget(digest, kept, "is not what was written")
        return None

    def _load(self, kept: _Kept) -> Tensor:
        assert self._file is not None
        data = torch.empty(kept.form.nbytes, dtype=torch.uint8)
        os.preadv(self._file.fileno(), [_bytes(data)], kept.offset)
        return data

    def _keep(self, digest: str, adapter: HostAdapter) -> None:
        if self._file is None or adapter.nbytes > self._budget:
            return
        form, data = flatten(adapter)
        sha256 = hashlib.sha256(_bytes(data)).digest()
        with self._gate:
            offset = self._make_room(form.nbytes)
            if offset is None:
                return
            kept = self._kept[digest] = _Kept(offset, form, sha256)
        try:
            os.pwrite(self._file.fileno(), _bytes(data), offset)
        except (OSError, ValueError) as error:
            self._forget(digest, kept, f"cannot be written: {error}")

    def _make_room(self, nbytes: int) -> int | None:
        """Return where `nbytes` are free, having forgotten as many adapters as that takes."""
        while True:
            offset = self._find_room(nbytes)
            if offset is not None or not self._kept:
                return offset
            del self._kept[next(iter(self._kept))]

    def _find_room(self, nbytes: int) -> int | None:
        offset = 0
        for kept in sorted(self._kept.values(), key=lambda one: one.offset):
            if kept.offset - offset >= nbytes:
                return offset
            offset = kept.end
        return offset if self._budget - offset >= nbytes else None

    def _forget(self, digest: str, kept: _Kept, why: str) -> None:
        with self._gate:
            if self._kept.get(digest) is not kept:
                return  # it has made room for another in the meantime
            del self._kept[digest]
        if self._file is not None and not self._file.closed:  # else a load outlived the server
            _log.warning("what was put away of adapter %s %s", digest, why)


def _bytes(data: Tensor) -> memoryview:
    return data.numpy().data


def _nameless_file(folder: Path | None) -> IO[bytes] | None:
    for place in dict.fromkeys((folder, None)):
        try:
            return tempfile.TemporaryFile(dir=place, buffering=0)
        except OSError as error:
            _log.warning("no disk for adapters in %s: %s", place or "the system's folder", error)
    return None
