"""Durable steps on a local disk: write, sync, rename, and know what was written."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final

from hub.errors import RegistryBusyError

CHUNK: Final = 1 << 20
_POLL_SECONDS: Final = 0.02
_NOT_REGULAR: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.ENXIO}
)


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file written and synced in a staging folder, known by its content.

    Attributes:
        sha256: Of the bytes written, 64 hex digits.
    """

    path: Path
    sha256: str
    bytes: int


def sync_folder(folder: Path) -> None:
    """Make the folder's entries survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create the folder and its missing parents, each entry synced."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def stage(source: BinaryIO, target: Path) -> StagedFile:
    """Copy to a new read-only file and sync it, hashing the bytes that were written."""
    sha256, size = hashlib.sha256(), 0
    with target.open("xb", buffering=0) as sink:
        while chunk := source.read(CHUNK):
            sha256.update(chunk)
            size += len(chunk)
            _write_all(sink.fileno(), chunk)
        os.fchmod(sink.fileno(), 0o444)
        os.fsync(sink.fileno())
    return StagedFile(target, sha256.hexdigest(), size)


def _write_all(descriptor: int, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[os.write(descriptor, left) :]


def open_regular(path: Path) -> FileIO:
    """Open a regular file for reading; follow no link and wait for no pipe.

    Raises:
        OSError: It cannot be opened, or is a link (ELOOP) or a special file (EINVAL).
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def file_sha256(path: Path) -> str | None:
    """Return the content's sha256 in hex, None where there is no regular file."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        if error.errno in _NOT_REGULAR:
            return None
        raise


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """Lend a new folder under `parent` that is gone at the end, whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="stage-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear_folder(folder: Path) -> list[Path]:
    """Delete what lies in the folder and return it."""
    found = sorted(folder.iterdir())
    for entry in found:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    return found


class FolderLock:
    """A lock between processes that dies with its holder.

    Writers share it; a collector of leftovers holds it alone, so that it never
    takes a file that a writer is about to refer to.
    """

    def __init__(self, path: Path, wait_seconds: float) -> None:
        """Name the lock file; it is created at first use."""
        self._path = path
        self._wait_seconds = wait_seconds

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock beside other writers.

        Raises:
            RegistryBusyError: A collector held it for all of the waiting time.
        """
        with self._held(fcntl.LOCK_SH, self._wait_seconds) as held:
            if not held:
                raise self._busy("is being cleaned by `hub adapters fsck`")
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone.

        Raises:
            RegistryBusyError: A writer held it for all of the waiting time.
        """
        with self._held(fcntl.LOCK_EX, self._wait_seconds) as held:
            if not held:
                raise self._busy("is being written to")
            yield

    @contextmanager
    def exclusive_if_free(self) -> Iterator[bool]:
        """Hold the lock alone if nobody holds it now; yield whether it is held."""
        with self._held(fcntl.LOCK_EX, 0.0) as held:
            yield held

    def _busy(self, why: str) -> RegistryBusyError:
        return RegistryBusyError(
            f"the registry {self._path.parent} {why}; gave up after {self._wait_seconds:g} s, "
            "try again in a moment"
        )

    @contextmanager
    def _held(self, kind: int, wait_seconds: float) -> Iterator[bool]:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            yield _acquire(descriptor, kind, wait_seconds)
        finally:
            os.close(descriptor)


def _acquire(descriptor: int, kind: int, wait_seconds: float) -> bool:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True
