"""XML as a stream of elements, for TMX and XLIFF: bounded memory, no entity, no network.

Expat is used bare, because only it says in which line an element stands, and because what it finds
can be thrown away at once. A document type declaration is passed over where it only names a DTD,
which is not fetched; one that declares anything itself is refused where it begins, and so is a
reference to an entity that only the DTD could declare. Encodings that expat does not have are
decoded by Python.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final, Protocol
from xml.parsers import expat

from hub.errors import CorpusError
from training.corpora.encodings import find_codec
from training.corpora.lines import LINE_LIMIT, read_blocks
from training.corpora.segments import Segment

MAX_DEPTH: Final = 200
_BLOCK: Final = 1 << 16
XML_LANG: Final = "http://www.w3.org/XML/1998/namespace lang"
_DECLARED: Final = re.compile(rb"\s*<\?xml[^>]*?\sencoding\s*=\s*[\"']([^\"'>]{0,80})[\"']")
_MARKS: Final = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Handler(Protocol):
    """Hears of elements; what it has finished waits in `ready`."""

    ready: list[Segment]

    def start(self, name: str, attributes: dict[str, str], line: int) -> None:
        """Hear of an element's begin, its name without its namespace."""

    def end(self, name: str) -> None:
        """Hear of an element's end."""

    def text(self, data: str) -> None:
        """Hear of text."""


def parse(path: Path, handler: Handler) -> Iterator[Segment]:
    """Yield what a handler makes of a file.

    Raises:
        CorpusError: Not well-formed, in an unknown encoding, an HTML page, with declarations of its
            own, or with something so deep or long that it would not fit in memory.
    """
    blocks = read_blocks(path, _BLOCK)
    first = next(blocks, b"")
    codec = _codec(path, first)
    parser = expat.ParserCreate(encoding="utf-8" if codec else None, namespace_separator=" ")
    parser.buffer_text = True
    _Events(path, parser, handler).attach()
    fed = 0
    for block in _transcoded(path, parser, chain([first], blocks), codec):
        for start in range(0, len(block), _BLOCK):
            piece = block[start : start + _BLOCK]
            _feed(path, parser, piece, final=False)
            fed += len(piece)
            if fed - parser.CurrentByteIndex > LINE_LIMIT + _BLOCK:
                raise _fault(path, parser, f"a tag with more than {LINE_LIMIT:,} bytes, the limit")
            yield from handler.ready
            handler.ready.clear()
    _feed(path, parser, b"", final=True)
    yield from handler.ready


def _codec(path: Path, first: bytes) -> str | None:
    """Return Python's codec for what a file declares, None where a byte order mark says it."""
    if first.startswith(_MARKS):
        return None
    stated = _DECLARED.match(first)
    name = stated[1].decode("latin-1") if stated else "utf-8"
    codec = find_codec(name)
    if codec is None:
        raise CorpusError(
            f"{path}:1: the file says that it is in {name!r}, which is no known encoding; convert "
            "it to UTF-8 and correct its first line",
            field="data",
        )
    # What declares UTF-16 so that it can be read byte by byte is no such text.
    return "utf-8" if codec.startswith(("utf-16", "utf-32")) else codec


def _transcoded(
    path: Path, parser: expat.XMLParserType, blocks: Iterator[bytes], codec: str | None
) -> Iterator[bytes]:
    """Yield a file's bytes in UTF-8; expat itself refuses bytes that are not."""
    if codec in (None, "utf-8"):
        yield from blocks
        return
    assert codec is not None
    decoder = codecs.getincrementaldecoder(codec)()
    try:
        for block in blocks:
            yield decoder.decode(block).encode("utf-8")
        yield decoder.decode(b"", final=True).encode("utf-8")
    except UnicodeError as error:
        raise _fault(
            path, parser, f"after this line, bytes that are not {codec}: {error}"
        ) from None


class _Events:
    """Passes expat's events on, and refuses what is dangerous."""

    def __init__(self, path: Path, parser: expat.XMLParserType, handler: Handler) -> None:
        self._path = path
        self._parser = parser
        self._handler = handler
        self._depth = 0

    def attach(self) -> None:
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._handler.text
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.SkippedEntityHandler = self._entity

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._fault(f"elements nested deeper than {MAX_DEPTH}")
        if self._depth == 1 and _local(name).lower() == "html":
            raise self._fault("an HTML page, not a file of translations")
        self._handler.start(_local(name), attributes, self._parser.CurrentLineNumber)

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._handler.end(_local(name))

    def _doctype(self, name: str, system: str | None, public: str | None, internal: int) -> None:
        if name.lower() == "html":
            raise self._fault("an HTML page, not a file of translations")
        if internal:
            raise self._fault(
                f"a document type declaration that declares something (<!DOCTYPE {name} […]>): "
                "DTDs and entities are refused; remove the declaration"
            )

    def _entity(self, name: str, is_parameter: bool) -> None:
        if not is_parameter:
            raise self._fault(
                f"&{name}; is declared nowhere but in a DTD, which is not fetched; write the "
                "character itself"
            )

    def _fault(self, what: str) -> CorpusError:
        return _fault(self._path, self._parser, what)


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


def _feed(path: Path, parser: expat.XMLParserType, data: bytes, *, final: bool) -> None:
    try:
        parser.Parse(data, final)
    except expat.ExpatError as error:
        raise CorpusError(
            f"{path}:{error.lineno}: not well-formed XML: {expat.ErrorString(error.code)}",
            field="data",
        ) from None


def _fault(path: Path, parser: expat.XMLParserType, what: str) -> CorpusError:
    return CorpusError(f"{path}:{parser.CurrentLineNumber}: {what}", field="data")
