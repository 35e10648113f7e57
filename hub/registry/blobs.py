"""Content-addressed files: a blob's name is the sha256 of its bytes.

An adapter folder has at most five files; its digest is the sha256 of the
canonical JSON {file name: file sha256}, so equal folders have equal digests
wherever they lie.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

from hub.errors import CorruptBlobError, IncompatibleAdapterError
from hub.golden import GOLDEN_FILE
from hub.manifest import MANIFEST_FILE
from hub.registry.disk import StagedFile, file_sha256, make_folder, sync_folder
from hub.vocabulary import VOCABULARY_FILE

CONFIG_FILE: Final = "adapter_config.json"
WEIGHTS_FILE: Final = "adapter_model.safetensors"
CARD_FILE: Final = "README.md"
REQUIRED_FILES: Final = frozenset({CONFIG_FILE, WEIGHTS_FILE, MANIFEST_FILE})
ALLOWED_FILES: Final = REQUIRED_FILES | {CARD_FILE, GOLDEN_FILE, VOCABULARY_FILE}

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NO_LINKS: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP})


def check_hex(sha256: str) -> str:
    """Return a sha256 in hex unchanged; it is then safe as a file name.

    Raises:
        CorruptBlobError: It is anything but 64 lower-case hex digits.
    """
    if not _HEX.fullmatch(sha256):
        raise CorruptBlobError(f"{sha256[:80]!r} is not a sha256: use 64 of 0-9 and a-f")
    return sha256


def is_hex(text: str) -> bool:
    """Tell whether the text is a sha256 in hex."""
    return _HEX.fullmatch(text) is not None


def digest_of_files(files: Mapping[str, str]) -> str:
    """Return the digest of a folder, given its files' names and sha256."""
    canonical = json.dumps(dict(files), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(canonical.encode("ascii")).hexdigest()


def folder_digest(folder: Path) -> str:
    """Return the digest that publishing the folder as it is would give.

    Raises:
        IncompatibleAdapterError: Something in it is not a regular file of an adapter.
    """
    files: dict[str, str] = {}
    for entry in sorted(folder.iterdir()):
        sha256 = file_sha256(entry) if entry.name in ALLOWED_FILES else None
        if sha256 is None:
            raise IncompatibleAdapterError(f"{entry} has no place in an adapter folder")
        files[entry.name] = sha256
    return digest_of_files(files)


class BlobStore(Protocol):
    """Where blobs live; local now, an object store by the same four words later."""

    def put(self, staged: Iterable[StagedFile]) -> None:
        """Store the files; on return they survive a power loss."""
        ...

    def place(self, sha256: str, target: Path) -> None:
        """Bring a blob to a local path that does not exist; the caller verifies it."""
        ...

    def verify(self, sha256: str) -> bool | None:
        """Tell whether the stored bytes are sound, None where there are none."""
        ...

    def stored(self) -> Iterator[str]:
        """Yield the sha256 of every blob there is."""
        ...


class LocalBlobStore:
    """Blobs in one folder of a local disk, each a read-only file."""

    def __init__(self, folder: Path) -> None:
        """Use the folder; call `prepare` once before the first `put`."""
        self._folder = folder

    def prepare(self) -> None:
        """Create the folder."""
        make_folder(self._folder)

    def path(self, sha256: str) -> Path:
        """Return where a blob is or would be."""
        return self._folder / check_hex(sha256)

    def put(self, staged: Iterable[StagedFile]) -> None:
        """Rename the staged files to their names, then sync the folder.

        A blob that is already there is kept if its bytes are sound and replaced
        if they are not: publishing again repairs. The folder is synced in either
        case, since an earlier publisher may have died before doing so.
        """
        for file in staged:
            if self.verify(file.sha256) is not True:
                os.replace(file.path, self.path(file.sha256))
        sync_folder(self._folder)
        sync_folder(self._folder.parent)

    def place(self, sha256: str, target: Path) -> None:
        """Hard-link the blob to the target, or copy it where links are not to be had."""
        source = self.path(sha256)
        try:
            os.link(source, target, follow_symlinks=False)
        except FileNotFoundError:
            raise CorruptBlobError(
                f"blob {source} is missing; publish the adapter again to restore it"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copyfile(source, target, follow_symlinks=False)

    def verify(self, sha256: str) -> bool | None:
        """Hash the stored bytes; None where there is no such blob."""
        path = self.path(sha256)
        found = file_sha256(path)
        if found is None:
            return False if path.is_symlink() or path.exists() else None
        return found == sha256

    def stored(self) -> Iterator[str]:
        """Yield the sha256 of every blob there is, sorted."""
        yield from sorted(entry.name for entry in self._folder.iterdir() if is_hex(entry.name))

    def strays(self) -> list[Path]:
        """Return what lies among the blobs without a blob's name."""
        return sorted(entry for entry in self._folder.iterdir() if not is_hex(entry.name))

    def remove(self, sha256: str) -> None:
        """Delete a blob; only for a collector that holds the registry's lock alone."""
        self.path(sha256).unlink(missing_ok=True)

    def quarantine(self, sha256: str, folder: Path) -> None:
        """Move a damaged blob out of reach, keeping it for inspection."""
        make_folder(folder)
        os.replace(self.path(sha256), folder / check_hex(sha256))
        sync_folder(self._folder)
