"""Local adapter folders, built from blobs and verified each time they are lent."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from hub.errors import CorruptBlobError, RegistryBusyError
from hub.registry.blobs import BlobStore, check_hex, is_hex
from hub.registry.disk import file_sha256, make_folder, staging_folder

_ATTEMPTS: Final = 5
_OCCUPIED: Final = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})


class AdapterFolders:
    """One folder per adapter digest, of hard links to blobs; a cache, always rebuildable."""

    def __init__(self, folder: Path, staging: Path, blobs: BlobStore) -> None:
        """Keep folders in `folder`; build them in `staging`, on the same disk."""
        self._folder = folder
        self._staging = staging
        self._blobs = blobs

    def prepare(self) -> None:
        """Create the folder of folders."""
        make_folder(self._folder)

    def path(self, digest: str) -> Path:
        """Return where the folder of an adapter digest is or would be."""
        return self._folder / check_hex(digest.removeprefix("sha256:"))

    def is_sound(self, digest: str, files: Mapping[str, str]) -> bool:
        """Hash what is there; False for a missing, extra or different file."""
        path = self.path(digest)
        try:
            names = set(os.listdir(path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        if path.is_symlink() or names != set(files):
            return False
        return all(file_sha256(path / name) == sha256 for name, sha256 in files.items())

    def build(self, digest: str, files: Mapping[str, str]) -> Path:
        """Build the folder from blobs, verify every byte, then put it in place.

        Raises:
            CorruptBlobError: A blob is missing or damaged; the message names the file.
        """
        for _ in range(_ATTEMPTS):
            with staging_folder(self._staging) as scratch:
                fresh = scratch / "folder"
                fresh.mkdir()
                self._fill(fresh, files)
                if self._swap_in(fresh, self.path(digest), scratch / "old"):
                    return self.path(digest)
            if self.is_sound(digest, files):
                return self.path(digest)
        raise RegistryBusyError(
            f"{self.path(digest)} keeps changing while it is built; try again in a moment"
        )

    def built(self) -> Iterator[str]:
        """Yield the digest of every folder there is, sorted."""
        for entry in sorted(self._folder.iterdir()):
            if is_hex(entry.name):
                yield f"sha256:{entry.name}"

    def _fill(self, fresh: Path, files: Mapping[str, str]) -> None:
        for name, sha256 in files.items():
            self._blobs.place(sha256, fresh / name)
            if file_sha256(fresh / name) != sha256:
                raise CorruptBlobError(
                    f"{name} is damaged: blob {sha256} does not hold what its name promises; "
                    "publish the adapter again to restore it",
                    field=name,
                    metadata={"blob": sha256},
                )

    @staticmethod
    def _swap_in(fresh: Path, target: Path, old: Path) -> bool:
        """Rename into place; False where something was there, which is moved aside."""
        try:
            os.rename(fresh, target)
        except OSError as error:
            if error.errno not in _OCCUPIED:
                raise
        else:
            return True
        try:
            os.rename(target, old)
        except FileNotFoundError:
            return False
        return False
