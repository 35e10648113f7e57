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
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import torch
from torch import Tensor

from hub.engine.adapters import HostAdapter
from hub.engine.forms import ServingForm, flatten, restore
from hub.registry import AdapterVersion
from server.residency.spill_blocks import Blocks, Run

RESERVE: Final = 0.1
"""Of the disk, which stays free for the registry and for others."""

_log = logging.getLogger("adapterhub.server")


@dataclass(frozen=True, slots=True)
class _Kept:
    runs: tuple[Run, ...]
    form: ServingForm
    sha256: bytes


class Spill:
    """Reads adapters, from its own file when it has them; any thread may call it."""

    def __init__(
        self,
        read: Callable[[AdapterVersion], HostAdapter],
        budget_bytes: int,
        folder: Path | None = None,
        observe: Callable[[AdapterVersion, str, float], None] = lambda *_: None,
    ) -> None:
        """Open the file, which takes disk as it fills.

        Args:
            read: Reads and checks an adapter from the registry.
            budget_bytes: Most bytes of the file; 0 for no file.
            folder: Whose disk to use; the system's folder for such files if it cannot be.
            observe: Told of every load: what, from where ("disk" or "registry"), seconds.
        """
        self._read = read
        self._observe = observe
        self._blocks = Blocks(budget_bytes)
        self._kept: dict[str, _Kept] = {}  # the least recently used first
        self._forms: weakref.WeakKeyDictionary[ServingForm, weakref.ref[ServingForm]]
        self._forms = weakref.WeakKeyDictionary()
        self._gate = threading.Lock()
        self._file = _nameless_file(folder) if budget_bytes else None

    def __call__(self, version: AdapterVersion) -> HostAdapter:
        """Return an adapter.

        Raises:
            HubError: The registry's copy cannot be read or served.
        """
        began = time.perf_counter()
        adapter = self._recall(version.digest)
        source = "disk"
        if adapter is None:
            adapter, source = self._read(version), "registry"
            self._keep(version.digest, adapter)
        self._observe(version, source, time.perf_counter() - began)
        return adapter

    def close(self) -> None:
        """Give the disk back."""
        with self._gate:
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
        except (OSError, ValueError, RuntimeError) as error:
            self._forget(digest, kept, f"cannot be read: {error}")
            return None
        if hashlib.sha256(_bytes(data)).digest() == kept.sha256:
            return restore(kept.form, data)
        self._forget(digest, kept, "is not what was written")
        return None

    def _load(self, kept: _Kept) -> Tensor:
        data = torch.empty(kept.form.nbytes, dtype=torch.uint8)
        with self._descriptor() as file:
            for offset, part in _parts(kept.runs, data):
                if os.preadv(file, [part], offset) < len(part):
                    raise OSError(f"it ends before byte {offset + len(part)}")
        return data

    def _keep(self, digest: str, adapter: HostAdapter) -> None:
        if self._file is None or not self._blocks.fits(adapter.nbytes):
            return
        if not self._disk_has_room(adapter.nbytes):
            return
        try:
            form, data = flatten(adapter)
        except RuntimeError as error:  # there is no memory for it
            _log.warning("adapter %s cannot be put away: %s", digest, error)
            return
        kept = self._enter(digest, form, hashlib.sha256(_bytes(data)).digest())
        if kept is None:
            return
        try:
            with self._descriptor() as file:
                for offset, part in _parts(kept.runs, data):
                    _write(file, part, offset)
        except (OSError, ValueError) as error:
            self._forget(digest, kept, f"cannot be written: {error}")
            self._end()

    def _disk_has_room(self, nbytes: int) -> bool:
        try:
            with self._descriptor() as file:
                disk = os.fstatvfs(file)
        except (OSError, ValueError):
            return False
        return disk.f_bavail * disk.f_frsize - nbytes >= RESERVE * disk.f_blocks * disk.f_frsize

    def _enter(self, digest: str, form: ServingForm, sha256: bytes) -> _Kept | None:
        """Make room by forgetting the least recently used; None when that would not do."""
        with self._gate:
            if not self._blocks.fits(form.nbytes):
                return None
            self._drop(digest)
            while (runs := self._blocks.take(form.nbytes)) is None:
                self._drop(next(iter(self._kept)))
            kept = self._kept[digest] = _Kept(runs, self._shared(form), sha256)
            return kept

    def _shared(self, form: ServingForm) -> ServingForm:
        """Return the form of those that have an equal one: it may be large beside the numbers."""
        known = self._forms.get(form)
        same = known() if known is not None else None
        if same is None:
            self._forms[form] = weakref.ref(form)
        return same or form

    def _drop(self, digest: str) -> None:
        kept = self._kept.pop(digest, None)
        if kept is not None:
            self._blocks.give(kept.runs)

    def _forget(self, digest: str, kept: _Kept, why: str) -> None:
        with self._gate:
            if self._kept.get(digest) is not kept:
                return  # it has made room for another in the meantime
            self._drop(digest)
        if self._file is not None and not self._file.closed:  # else a load outlived the server
            _log.warning("what was put away of adapter %s %s", digest, why)

    def _end(self) -> None:
        """Put nothing away any more and give the disk back: others need what it is short of."""
        with self._gate:
            self._kept.clear()
            self._blocks = Blocks(0)
        with suppress(OSError, ValueError), self._descriptor() as file:
            os.ftruncate(file, 0)

    @contextmanager
    def _descriptor(self) -> Iterator[int]:
        """Lend a descriptor that stays the file's own though `close` is called meanwhile.

        Raises:
            ValueError: The file is closed.
        """
        assert self._file is not None
        with self._gate:
            own = os.dup(self._file.fileno())
        try:
            yield own
        finally:
            os.close(own)


def _parts(runs: tuple[Run, ...], data: Tensor) -> Iterator[tuple[int, memoryview]]:
    """Yield where each piece of the bytes lies in the file, and the piece."""
    start, everything = 0, _bytes(data)
    for first, last in runs:
        yield first, everything[start : start + last - first]
        start += last - first


def _write(file: int, part: memoryview, offset: int) -> None:
    while part:
        written = os.pwrite(file, part, offset)
        part, offset = part[written:], offset + written


def _bytes(data: Tensor) -> memoryview:
    return data.numpy().data


def _nameless_file(folder: Path | None) -> IO[bytes] | None:
    for place in dict.fromkeys((folder, None)):
        try:
            return tempfile.TemporaryFile(dir=place, buffering=0)
        except OSError as error:
            _log.warning("no disk for adapters in %s: %s", place or "the system's folder", error)
    return None
