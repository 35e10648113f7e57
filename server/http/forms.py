"""Forms, urlencoded or in parts: in UTF-8 and whole, else refused; nothing is guessed.

Starlette's own reading takes what is not UTF-8 for Latin-1, lets a caller name any codec of
Python's, and puts files of more than a megabyte on a disk.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from hub.errors import InputError

MAX_FIELDS: Final = 2000
MAX_FILES: Final = 4
MAX_PART_BYTES: Final = 2**24
"""Of a field; files are limited by the body."""
URLENCODED: Final = "application/x-www-form-urlencoded"
PARTS: Final = "multipart/form-data"
_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_CHARSETS: Final = (b"", b"utf-8", b"utf8", b"us-ascii")


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file of a form.

    Attributes:
        name: As the caller wrote it, as far as that can be read.
    """

    name: str
    data: bytes


Values = Mapping[str, str | list[str]]


def read_urlencoded(data: bytes, what: str = "the form") -> Values:
    """Return the fields of an urlencoded body, or of a query.

    Args:
        data: UTF-8, percent-encoded or not.
        what: It is called in messages.

    Raises:
        InputError: It is not UTF-8, or has too many fields.
    """
    try:
        pairs = parse_qsl(
            data.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except UnicodeDecodeError as error:
        raise InputError(f"{what} is not UTF-8: {error.reason}; send UTF-8") from None
    except ValueError:
        raise InputError(
            f"{what} has more than {MAX_FIELDS} fields; send lists as JSON, or fewer at once"
        ) from None
    return grouped(pairs)


async def read_parts(
    content_type: str, stream: AsyncGenerator[bytes, None]
) -> tuple[Values, dict[str, UploadedFile]]:
    """Return the fields and the files of a form of parts; files are kept in memory.

    Raises:
        InputError: It is not such a form, is cut off, is not UTF-8, or has too many parts.
    """
    parser = _PartsParser(_headers(content_type), stream)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InputError(
            f"the form cannot be read: {error.message} Send it whole, with at most {MAX_FIELDS} "
            f"fields and {MAX_FILES} files"
        ) from None
    try:
        items = form.multi_items()
        texts = [
            (_decoded(name), _decoded(one, name)) for name, one in items if isinstance(one, str)
        ]
        files = {
            _decoded(name): await _file(one) for name, one in items if isinstance(one, UploadFile)
        }
    finally:
        await form.close()
    return grouped(texts), files


def grouped(items: list[tuple[str, str]]) -> Values:
    """Return each name once: with its value, or with the list of its values."""
    return dict(_grouped(items))


def _grouped(items: list[tuple[str, str]]) -> Iterator[tuple[str, str | list[str]]]:
    found: dict[str, list[str]] = {}
    for name, value in items:
        found.setdefault(name, []).append(value)
    for name, values in found.items():
        yield name, values[0] if len(values) == 1 else values


class _PartsParser(MultiPartParser):
    """Starlette's parser, in memory, which refuses a form whose last boundary is missing."""

    spool_max_size = 0  # for a temporary file: none on a disk, however large

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None]) -> None:
        super().__init__(
            headers,
            self._checked(stream),
            max_files=MAX_FILES,
            max_fields=MAX_FIELDS,
            max_part_size=MAX_PART_BYTES,
        )
        self._is_whole = False

    def on_end(self) -> None:
        """Note that the form is whole."""
        self._is_whole = True

    async def _checked(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Yield a body; behind it the parser has seen all, and closes its files for an error."""
        async for piece in stream:
            yield piece
        if not self._is_whole:
            raise MultiPartException("It is cut off: the last boundary is missing.")


def _headers(content_type: str) -> Headers:
    """Return the header by which every byte of a text becomes a character, for `_decoded`."""
    _, given = parse_options_header(content_type)
    boundary, charset = given.get(b"boundary", b""), given.get(b"charset", b"")
    if not _BOUNDARY.fullmatch(boundary):
        raise InputError(f"the content type has no boundary of 1 to 70 characters for {PARTS}")
    if charset.lower() not in _CHARSETS:
        raise InputError(f"charset {charset[:40]!r} is not read here; send UTF-8")
    told = f'{PARTS}; boundary="{boundary.decode("ascii")}"; charset=latin-1'
    return Headers({"content-type": told})


def _decoded(text: str, name: str = "") -> str:
    try:
        return text.encode("latin-1").decode()
    except UnicodeDecodeError as error:
        where = f"field {name[:40]!r} of the form" if name else "a name in the form"
        raise InputError(f"{where} is not UTF-8: {error.reason}; send UTF-8", field=name) from None


async def _file(file: UploadFile) -> UploadedFile:
    name = (file.filename or "").encode("latin-1").decode(errors="replace")
    return UploadedFile(name, await file.read())
