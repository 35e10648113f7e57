"""XML as a stream of elements, for TMX and XLIFF: bounded memory, no DTD, no entity, no network.

Expat is used bare, because only it says in which line an element stands, and because what it finds
can be thrown away at once. A document type declaration is refused where it begins: entities can
then neither be declared nor fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol
from xml.parsers import expat

from hub.errors import CorpusError
from training.corpora.lines import LINE_LIMIT, read_blocks
from training.corpora.segments import Segment, one_line, refuse_long

MAX_DEPTH: Final = 200
_BLOCK: Final = 1 << 16
XML_LANG: Final = "http://www.w3.org/XML/1998/namespace lang"
# Inline elements whose content is code of the original format, not text.
_CODE: Final = frozenset(
    ("ph", "bpt", "ept", "it", "ut", "sub", "x", "bx", "ex", "sc", "ec", "cp", "sm", "em")
)


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
        CorpusError: Not well-formed, with a document type declaration, or with something so deep or
            long that it would not fit in memory.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    _Events(path, parser, handler).attach()
    fed = 0
    for block in read_blocks(path, _BLOCK):
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

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _fault(self._path, self._parser, f"elements nested deeper than {MAX_DEPTH}")
        self._handler.start(_local(name), attributes, self._parser.CurrentLineNumber)

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._handler.end(_local(name))

    def _doctype(self, name: str, system: str | None, public: str | None, internal: bool) -> None:
        raise _fault(
            self._path,
            self._parser,
            f"a document type declaration (<!DOCTYPE {name}>): DTDs and entities are refused; "
            "remove the declaration",
        )


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


class FlatText:
    """Collects an element's text without its inline tags.

    Elements around translatable text (`hi`, `g`, `pc`, `mrk`) vanish and their text stays. Elements
    that hold code of the original format (`ph`, `bpt`, `ept`, `it`, `ut`, with `sub` in them) and
    empty ones vanish with all that is in them.
    """

    def __init__(self, place: str) -> None:
        """Begin; `place` is for messages."""
        self._place = place
        self._parts: list[str] = []
        self._size = 0
        self._code = 0

    def start(self, name: str) -> None:
        """Hear of an inline element's begin."""
        if self._code or name in _CODE:
            self._code += 1

    def end(self) -> None:
        """Hear of an inline element's end."""
        self._code = max(0, self._code - 1)

    def text(self, data: str) -> None:
        """Hear of text.

        Raises:
            CorpusError: It is longer than a segment may be.
        """
        if self._code:
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > LINE_LIMIT:
            refuse_long(self._place, "".join(self._parts))

    @property
    def flat(self) -> str:
        """Return the text in one line."""
        return one_line("".join(self._parts))
