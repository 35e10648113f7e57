r"""Files as streams of bytes and of lines, in bounded memory, whatever is in them.

A line ends at "\n" and nowhere else: U+2028, U+0085, VT and FF are text, though `str.splitlines`
would cut at them and put two sides of a corpus out of step. One "\r" before the "\n" and one byte
order mark at the start of the file are dropped.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from hub.errors import CorpusError, CorpusNotFoundError

BLOCK: Final = 1 << 18
LINE_LIMIT: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"
# A piece of a Zstandard stream may unpack to 128 KiB for every 4 bytes: at most 4 MiB.
_ZST_PIECE: Final = 1 << 7
_END_OF_DOS: Final = b"\x1a"
_MAGIC: Final = (
    (b"\x1f\x8b", "gzip data; name it ….gz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data; name it ….zst"),
    (b"\xff\xfe\0\0", "UTF-32 text; convert it with iconv -f UTF-32 -t UTF-8"),
    (b"\0\0\xfe\xff", "UTF-32 text; convert it with iconv -f UTF-32 -t UTF-8"),
    (b"\xff\xfe", "UTF-16 text; convert it with iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "UTF-16 text; convert it with iconv -f UTF-16 -t UTF-8"),
    (b"\xde\x12\x04\x95", "a compiled catalogue; make a PO file of it with msgunfmt"),
    (b"\x95\x04\x12\xde", "a compiled catalogue; make a PO file of it with msgunfmt"),
    (b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (b"%PDF", "a PDF document"),
)


def read_blocks(path: Path, size: int = BLOCK) -> Iterator[bytes]:
    """Yield a file's bytes, unpacked if its name ends in .gz or .zst.

    Raises:
        CorpusNotFoundError: There is no such file.
        CorpusError: It cannot be read, or its compressed data is damaged or ends too early.
    """
    with _open(path) as file:
        suffix = path.suffix.lower()
        if suffix == ".gz":
            yield from _gunzip(path, file, size)
        elif suffix == ".zst":
            yield from _unzstd(path, file, size)
        else:
            while block := file.read(size):
                yield block


def read_lines(path: Path, *, limit: int = LINE_LIMIT, block: int = BLOCK) -> Iterator[str]:
    """Yield a text file's lines without their ends.

    Args:
        path: The file; .gz and .zst are unpacked.
        limit: Bytes that one line may have.
        block: Bytes read at once.

    Raises:
        CorpusNotFoundError: There is no such file.
        CorpusError: Not UTF-8 text, or a line over the limit; the message has file, line and byte.
    """
    rest = b""
    number = 0  # of lines yielded
    blocks = read_blocks(path, block)
    first = next(blocks, b"")
    refuse_binary(path, first)
    _refuse_old_mac(path, first)
    for data in _chain(first.removeprefix(_BOM), blocks):
        whole, end, tail = data.rpartition(b"\n")
        if not end:
            rest += tail
            _refuse_long(path, number + 1, rest, limit)
            continue
        whole = rest + whole
        if len(whole) > limit:
            _refuse_long_lines(path, number, whole, limit)
        for line in _decode(path, number, whole):
            number += 1
            yield line
        rest = tail
    rest = rest.removesuffix(_END_OF_DOS)
    if rest:
        _refuse_long(path, number + 1, rest, limit)
        yield from _decode(path, number, rest)


def _chain(first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from blocks


def _decode(path: Path, before: int, data: bytes) -> list[str]:
    """Return the lines in some bytes; `before` lines came earlier."""
    if b"\0" in data:
        line, column = _place(data, data.index(b"\0"))
        raise CorpusError(
            f"{path}:{before + line}: byte {column} is 0x00; this is not a text file", field="data"
        )
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        line, column = _place(data, error.start)
        raise CorpusError(
            f"{path}:{before + line}: byte {column} (0x{data[error.start]:02x}) is not valid "
            f"UTF-8: {error.reason}; convert the file to UTF-8",
            field="data",
        ) from None
    return [line.removesuffix("\r") for line in lines] if b"\r" in data else lines


def _place(data: bytes, offset: int) -> tuple[int, int]:
    """Return line and byte within the line, both from 1."""
    before = data[:offset]
    return before.count(b"\n") + 1, offset - before.rfind(b"\n")


def _refuse_long(path: Path, number: int, line: bytes, limit: int) -> None:
    if len(line) > limit:
        raise CorpusError(
            f"{path}:{number}: the line has more than {limit:,} bytes, the limit; a segment is a "
            "sentence or a few: is this a text with line ends?",
            field="data",
        )


def _refuse_long_lines(path: Path, before: int, data: bytes, limit: int) -> None:
    for number, line in enumerate(data.split(b"\n"), start=before + 1):
        _refuse_long(path, number, line, limit)


def refuse_binary(path: Path, first: bytes) -> None:
    """Refuse a file whose first bytes are those of a known format that is no text.

    Raises:
        CorpusError: Names the format and what to do.
    """
    for magic, what in _MAGIC:
        if first.startswith(magic):
            raise CorpusError(f"{path}:1: the file holds {what}", field="data")


def _refuse_old_mac(path: Path, first: bytes) -> None:
    """Refuse a file whose lines all end at carriage returns: it would be one line."""
    if b"\n" not in first and b"\r" in first.rstrip(b"\r"):
        raise CorpusError(
            f"{path}:1: its lines end at carriage returns alone, as on classic Mac OS; convert "
            r"it with tr '\r' '\n'",
            field="data",
        )


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise CorpusNotFoundError(f"there is no file {path}", field="data") from None
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile) or error.strerror is None:
            raise
        raise CorpusError(f"{path} cannot be read: {error.strerror}", field="data") from None


def _gunzip(path: Path, file: IO[bytes], size: int) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=file) as unpacked:
        while True:
            try:
                block = unpacked.read(size)
            except EOFError:
                raise _damaged(path, "ends in the middle of its gzip data; copy it anew") from None
            except (gzip.BadGzipFile, zlib.error) as error:
                raise _damaged(path, f"holds damaged gzip data: {error}") from None
            if not block:
                return
            yield block


def _unzstd(path: Path, file: IO[bytes], size: int) -> Iterator[bytes]:
    ready = bytearray()
    for block in _unzstd_pieces(path, file):
        ready += block
        if len(ready) >= size:
            yield bytes(ready)
            ready.clear()
    if ready:
        yield bytes(ready)


def _unzstd_pieces(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    import zstandard

    frame = None
    while piece := file.read(_ZST_PIECE):
        while piece:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                yield frame.decompress(piece)
            except zstandard.ZstdError as error:
                raise _damaged(path, f"holds damaged Zstandard data: {error}") from None
            piece = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    if frame is not None:
        raise _damaged(path, "ends in the middle of its Zstandard data; copy it anew")


def _damaged(path: Path, what: str) -> CorpusError:
    return CorpusError(f"{path} {what}", field="data")
