"""XML as a stream of elements, for TMX and XLIFF: bounded memory, no entity, no network.

Expat is used bare, because only it says in which line an element stands, and because what it finds
can be thrown away at once. Python decodes the text: a byte order mark says the encoding, else the
XML declaration. A document type declaration is passed over where it declares nothing itself; the
DTD that it may name is not fetched. Every document is therefore parsed as one that stands alone:
a reference to an entity that only a DTD could declare is refused, in attributes too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, Protocol
from xml.parsers import expat

from hub.errors import CorpusError
from training.corpora.encodings import find_codec, marked_codec, settle_codec, text_decoder
from training.corpora.lines import LINE_LIMIT, read_blocks
from training.corpora.segments import Segment, Skipped

MAX_DEPTH: Final = 200
XML_LANG: Final = "http://www.w3.org/XML/1998/namespace lang"
_BLOCK: Final = 1 << 16
_OPENING: Final = 1 << 10
"""Bytes in which an XML declaration ends."""

_DECLARED: Final = re.compile(rb"\s*<\?xml[^>]*?\sencoding\s*=\s*[\"']([^\"'>]{0,80})[\"']")
_DECLARATION: Final = re.compile(r"<\?xml\s[^>]*\?>")
_STANDALONE: Final = "<?xml version='1.0' standalone='yes'?>"
_REMEDY: Final = "convert the file to UTF-8"
_ENTITY: Final = re.compile(rb"(?:&(?!#|(?:amp|apos|gt|lt|quot);)|%)[^;\s\"'<>&]{1,60};")
# How XML in these encodings begins where it has no byte order mark (XML 1.0, appendix F).
_UNMARKED: Final = (
    (b"<\0\0\0", "utf-32-le"),
    (b"\0\0\0<", "utf-32-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)
# Namespaces that elements of these formats have where the root element has none.
_CORE: Final = ("urn:oasis:names:tc:xliff:document:", "http://www.lisa.org/tmx")


class Handler(Protocol):
    """Hears of elements; what it has finished waits in `ready`."""

    ready: list[Segment]

    def start(self, name: str, attributes: dict[str, str], line: int) -> None:
        """Hear of an element's begin.

        An element of the root's namespace, or of none, goes by its name alone; any other by its
        namespace and name, divided by a blank. A processing instruction is an empty element whose
        name begins with "?".
        """

    def end(self, name: str) -> None:
        """Hear of an element's end."""

    def text(self, data: str) -> None:
        """Hear of text."""


def parse(path: Path, handler: Handler, skipped: Skipped) -> Iterator[Segment]:
    """Yield what a handler makes of a file.

    Raises:
        CorpusError: Not well-formed, in an unknown encoding, an HTML page, with declarations of its
            own, or with something so deep or long that it would not fit in memory.
    """
    parser = expat.ParserCreate(encoding="utf-8", namespace_separator=" ")
    parser.buffer_text = True
    # Nothing is fetched: there is no handler that could. But a reference is then an error.
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_ALWAYS)
    _Events(path, parser, handler).attach()
    fed = 0
    for text in _standing_alone(_decoded(path, skipped)):
        data = text.encode("utf-8", "surrogatepass")  # expat refuses surrogates, with their place
        for start in range(0, len(data), _BLOCK):
            piece = data[start : start + _BLOCK]
            _feed(path, parser, piece, fed)
            fed += len(piece)
            if fed - parser.CurrentByteIndex > LINE_LIMIT + _BLOCK:
                raise _fault(path, parser, f"a tag with more than {LINE_LIMIT:,} bytes, the limit")
            yield from handler.ready
            handler.ready.clear()
    _feed(path, parser, b"", fed, final=True)
    yield from handler.ready


@dataclass(frozen=True)
class _Encoding:
    """A file's encoding: its codec, the length of its mark, and for messages what says so."""

    codec: str
    mark: int
    reason: str
    remedy: str = _REMEDY


def _encoding(path: Path, first: bytes, skipped: Skipped) -> _Encoding:
    marked = marked_codec(first)
    if marked is not None:
        return _Encoding(*marked, "which its byte order mark says it is in")
    for opening, codec in _UNMARKED:
        if first.startswith(opening):
            return _Encoding(codec, 0, "which its first bytes say it is in")
    stated = _DECLARED.match(first)
    if stated is not None:
        return _declared(path, stated[1].decode("latin-1"), skipped)
    return _Encoding(
        "utf-8",
        0,
        "the encoding of XML that declares none",
        f'{_REMEDY}, or begin it with <?xml version="1.0" encoding="windows-1252"?> or what else '
        "it is in",
    )


def _declared(path: Path, name: str, skipped: Skipped) -> _Encoding:
    """Return the encoding that the first line of a file declares; say if it seems wrong."""
    codec = find_codec(name)
    if codec is None:
        raise CorpusError(
            f"{path}:1: the file says that it is in {name!r}, which is no known encoding; convert "
            "it to UTF-8 and correct its first line",
            field="data",
        )
    if path.is_file():  # a pipe can be read once only
        codec, note = settle_codec(codec, f"it declares encoding={name}", read_blocks(path))
        if note:
            skipped.notes.append(f"{path.name}: {note}")
    return _Encoding(
        codec, 0, f"which it declares as {name}", f"{_REMEDY}, or correct its first line"
    )


def _decoded(path: Path, skipped: Skipped) -> Iterator[str]:
    """Yield a file's text."""
    blocks = read_blocks(path, _BLOCK)
    first = b""
    while len(first) < _OPENING and (block := next(blocks, b"")):
        first += block
    encoding = _encoding(path, first, skipped)
    decoder = text_decoder(encoding.codec)
    line = 1
    for data in chain([first[encoding.mark :]], blocks, [b""]):
        try:
            text = decoder.decode(data, not data)
        except UnicodeDecodeError as error:
            raise _undecodable(path, line, encoding, error) from None
        line += text.count("\n")
        yield text


def _undecodable(
    path: Path, line: int, encoding: _Encoding, error: UnicodeDecodeError
) -> CorpusError:
    before = error.object[: error.start].decode(encoding.codec, "replace")
    return CorpusError(
        f"{path}:{line + before.count(chr(10))}: byte 0x{error.object[error.start]:02x} is not "
        f"valid in {encoding.codec}, {encoding.reason}; {encoding.remedy}",
        field="data",
    )


def _standing_alone(texts: Iterator[str]) -> Iterator[str]:
    """Yield a document's text with a declaration that nothing outside of it counts."""
    first = next(texts, "")
    found = _DECLARATION.match(first)
    end = found.end() if found else 0
    yield _STANDALONE + "\n" * first.count("\n", 0, end) + first[end:]
    yield from texts


class _Events:
    """Passes expat's events on, and refuses what is dangerous."""

    def __init__(self, path: Path, parser: expat.XMLParserType, handler: Handler) -> None:
        self._path = path
        self._parser = parser
        self._handler = handler
        self._depth = 0
        self._namespace = ""

    def attach(self) -> None:
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._handler.text
        self._parser.ProcessingInstructionHandler = self._instruction
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.EntityDeclHandler = self._declaration
        self._parser.ElementDeclHandler = self._declaration
        self._parser.AttlistDeclHandler = self._declaration
        self._parser.NotationDeclHandler = self._declaration

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._fault(f"elements nested deeper than {MAX_DEPTH}")
        if self._depth == 1:
            self._namespace, _, root = name.rpartition(" ")
            if root.lower() == "html":
                raise self._fault("an HTML page, not a file of translations")
        self._handler.start(self._core(name), attributes, self._parser.CurrentLineNumber)

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._handler.end(self._core(name))

    def _core(self, name: str) -> str:
        """Return an element's name as the handler hears it."""
        namespace, _, local = name.rpartition(" ")
        is_core = namespace in ("", self._namespace) or namespace.startswith(_CORE)
        return local if is_core else name

    def _instruction(self, target: str, data: str) -> None:
        if self._depth:
            self._handler.start(f"?{target}", {}, self._parser.CurrentLineNumber)
            self._handler.end(f"?{target}")

    def _doctype(self, name: str, system: str | None, public: str | None, internal: int) -> None:
        if name.lower() == "html":
            raise self._fault("an HTML page, not a file of translations")

    def _declaration(self, *declared: object) -> None:
        raise self._fault(
            "a document type declaration that declares something: DTDs and entities are refused; "
            "remove the declaration"
        )

    def _fault(self, what: str) -> CorpusError:
        return _fault(self._path, self._parser, what)


def _feed(
    path: Path, parser: expat.XMLParserType, data: bytes, fed: int, *, final: bool = False
) -> None:
    """Parse a piece of a document, of which `fed` bytes came before."""
    try:
        parser.Parse(data, final)
    except expat.ExpatError as error:
        what = f"not well-formed XML: {expat.ErrorString(error.code)}"
        if expat.ErrorString(error.code) == expat.errors.XML_ERROR_UNDEFINED_ENTITY:
            found = _ENTITY.search(data, max(0, parser.ErrorByteIndex - fed))
            name = found[0].decode("utf-8", "replace") if found else "an entity"
            what = (
                f"{name} is declared nowhere but perhaps in a DTD, which is not fetched; write the "
                "character itself"
            )
        raise CorpusError(f"{path}:{error.lineno}: {what}", field="data") from None


def _fault(path: Path, parser: expat.XMLParserType, what: str) -> CorpusError:
    return CorpusError(f"{path}:{parser.CurrentLineNumber}: {what}", field="data")
