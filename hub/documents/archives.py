"""Zip archives of strangers: bounded before they are unpacked, and written again part by part.

An archive states the size of each part, and may lie. So parts are unpacked a piece at a time, which
ends at the stated size, and only by the methods that office formats have: what comes out of other
methods (bzip2, LZMA) cannot be taken in pieces.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hub.errors import DocumentError

MAX_PARTS: Final = 10_000
MAX_UNPACKED: Final = 256 * 2**20
"""Bytes of all parts together."""
MAX_RATIO: Final = 200
"""How many times larger a part may become, beyond the first megabyte."""
_FREE: Final = 2**20
_PIECE: Final = 2**16
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENTRY: Final = b"PK\x01\x02"
"""Begins a part's entry in the directory of an archive."""
_ENCRYPTED: Final = 0x1


@dataclass(frozen=True, slots=True)
class Archive:
    """The parts of an archive, in order."""

    opened: zipfile.ZipFile
    infos: tuple[zipfile.ZipInfo, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all parts."""
        return tuple(info.filename for info in self.infos)

    def read(self, name: str) -> bytes:
        """Return the content of a part.

        Raises:
            DocumentError: It is damaged.
        """
        made = io.BytesIO()
        try:
            with self.opened.open(name) as part:
                while piece := part.read(_PIECE):
                    made.write(piece)
        except (*_FAULTS, KeyError) as error:
            raise DocumentError(f"part {name!r:.80} is damaged: {error!s:.100}") from None
        return made.getvalue()

    def with_parts(self, parts: Mapping[str, bytes]) -> bytes:
        """Return the archive with other contents for some of its parts."""
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
            for info in self.infos:
                part = parts.get(info.filename)
                content = self.read(info.filename) if part is None else part
                new.writestr(_like(info), content)
        return made.getvalue()


_FAULTS: Final = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError
)  # fmt: skip


def open_archive(data: bytes) -> Archive:
    """Look at an archive and unpack nothing.

    Raises:
        DocumentError: It is no archive, is encrypted, or would take too much when unpacked.
    """
    # zipfile makes an object of each entry first. Archives inside of an archive have entries, too.
    if data.count(_ENTRY) > 2 * MAX_PARTS:
        raise DocumentError(f"an archive may have {MAX_PARTS:,} parts; this one has far more")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _FAULTS as error:
        raise DocumentError(f"it is not a zip archive: {error!s:.100}") from None
    infos = tuple(archive.infolist())
    if len(infos) > MAX_PARTS:
        raise DocumentError(f"{len(infos)} parts; an archive may have {MAX_PARTS}")
    unpacked = sum(info.file_size for info in infos)
    if unpacked > MAX_UNPACKED:
        raise DocumentError(f"{unpacked:,} bytes unpacked; at most {MAX_UNPACKED:,} are allowed")
    for info in infos:
        _check(info)
    if len({info.filename for info in infos}) < len(infos):
        raise DocumentError("two parts of the archive have one name; save the file anew")
    return Archive(archive, infos)


def _check(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & _ENCRYPTED:
        raise DocumentError("the file is encrypted; save it without a password")
    if info.compress_type not in _METHODS:
        raise DocumentError(
            f"part {info.filename!r:.80} is compressed by method {info.compress_type}; office "
            "formats have 0 (stored) and 8 (deflated), so save the file anew"
        )
    if info.file_size > _FREE + MAX_RATIO * info.compress_size:
        raise DocumentError(
            f"part {info.filename!r:.80} grows from {info.compress_size:,} to "
            f"{info.file_size:,} bytes when unpacked; at most {MAX_RATIO} times are allowed"
        )


def _like(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(info.filename, info.date_time)
    made.compress_type = info.compress_type
    made.external_attr = info.external_attr
    return made
