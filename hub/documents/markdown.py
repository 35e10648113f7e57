"""Markdown: markdown-it finds the blocks and says what is text in them; the rest stays as written.

Its inline tokens have no places, so they are followed through the source of their block: each token
says what comes next, and whatever does not come as expected makes the block one without codes. What
is written is parsed again: the same links, code and emphasis must be in it and the text must read
as translated, else with its special characters escaped, else the block stays as it was.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.helpers import parseLinkDestination, parseLinkTitle
from markdown_it.token import Token

from hub.documents.decoding import Decoded, decode
from hub.documents.inline import Code, Inline, Piece, Role, make_inline
from hub.documents.model import HTML, PLAIN, Document, Options, Unit, bounded, has_words
from hub.documents.plain_text import on_one_line
from hub.documents.spans import Span, SpanDocument, Write
from hub.errors import DocumentError

MAX_BYTES: Final = 4 * 2**20
_LINE_END: Final = re.compile(r"\r\n?|\n")
_FRONT: Final = re.compile(r"---[ \t]*\r?\n(?:.*\r?\n)*?(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)")
_SOFT: Final = re.compile(r" *\n *")
_HARD: Final = re.compile(r"(?: {2,}|\\)\n *")
_TICKS: Final = re.compile(r"`+")
_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>&~#|])")
_PAIRS: Final = ("em", "strong", "s")
_CELLS: Final = ("th_open", "td_open")


class _Lost(Exception):
    """The source does not go on as the tokens say."""


def read_markdown(data: bytes, options: Options) -> Document:
    """Read Markdown: CommonMark with tables and strikethrough; front matter stays.

    Raises:
        DocumentError: It is too large.
    """
    if len(data) > MAX_BYTES:
        raise DocumentError(
            f"{len(data):,} bytes; Markdown, whose parts take much more memory than the file, may "
            f"have {MAX_BYTES:,}, so split it"
        )
    decoded = decode(data, options.encoding)
    page = _Page(decoded)
    return SpanDocument(decoded, sorted(bounded(page.spans()), key=lambda span: span.start))


def _parser() -> MarkdownIt:
    # Left apart, an escaped character keeps its form in the source.
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable("text_join")


@dataclass
class _Page:
    """The blocks of a file and their places."""

    decoded: Decoded
    parser: MarkdownIt = field(default_factory=_parser)
    env: dict[str, Any] = field(default_factory=dict)
    _starts: list[int] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)
    _cell: int = 0

    def spans(self) -> Iterator[Span]:
        text = self.decoded.text
        self._find_lines(text)
        front = _FRONT.match(text)
        first = 0 if front is None else bisect_right(self._starts, front.end() - 1)
        blank = (
            "\n" * first + text[self._starts[first] if first < len(self._starts) else len(text) :]
        )
        tokens = self.parser.parse(blank, self.env)
        for before, token in zip([None, *tokens], tokens, strict=False):
            span = self._span(token, before)
            if span is not None:
                yield span

    def _find_lines(self, text: str) -> None:
        self._starts = [0]
        for found in _LINE_END.finditer(text):
            self._ends.append(found.start())
            self._starts.append(found.end())
        self._ends.append(len(text))

    def _line(self, number: int) -> str:
        return self.decoded.text[self._starts[number] : self._ends[number]]

    def _span(self, token: Token, before: Token | None) -> Span | None:
        if token.map is None:
            return None
        place = f"line {token.map[0] + 1}"
        if token.type == "html_block" and token.level == 0:
            return self._html(token.map[0], token.map[1], place)
        if token.type != "inline" or before is None or not has_words(token.content):
            return None
        is_cell = before.type in _CELLS
        found = self._cell_place(token) if is_cell else self._place(token)
        if found is None:
            return None
        block = _Block(self, token, is_cell, before.type == "paragraph_open", found[2])
        inline = block.inline(place)
        if inline.unit is None:
            return None
        return Span(found[0], found[1], inline.unit, block.writer(inline))

    def _html(self, first: int, last: int, place: str) -> Span | None:
        start, end = self._starts[first], self._ends[min(last, len(self._ends)) - 1]
        text = self.decoded.text[start:end]
        return Span(start, end, Unit(text, HTML, place)) if has_words(text) else None

    def _place(self, token: Token) -> tuple[int, int, str] | None:
        """Return the bounds of a block's text, and what is in front of its second line."""
        assert token.map is not None
        lines = token.content.split("\n")
        first, last = token.map[0], token.map[0] + len(lines) - 1
        if last >= len(self._starts):
            return None
        begin = self._find(first, lines[0])
        end = self._find(last, lines[-1])
        if begin is None or end is None:
            return None
        follows = self._line(first + 1) if last > first else ""
        prefix = follows[: len(follows) - len(follows.lstrip(" \t>"))]
        return begin[0], end[1], prefix

    def _find(self, number: int, content: str) -> tuple[int, int] | None:
        line, wanted = self._line(number), content.strip()
        place = line.rfind(wanted)
        if place < 0:
            return None
        return self._starts[number] + place, self._starts[number] + place + len(wanted)

    def _cell_place(self, token: Token) -> tuple[int, int, str] | None:
        """Return the bounds of a cell, in whose source each | is escaped."""
        assert token.map is not None
        begin = max(self._starts[token.map[0]], self._cell)
        wanted = token.content.replace("|", "\\|")
        place = self.decoded.text.find(wanted, begin, self._ends[token.map[0]])
        if place < 0:
            return None
        self._cell = place + len(wanted)
        return place, self._cell, ""


@dataclass
class _Block:
    """The running text of one block."""

    page: _Page
    token: Token
    is_cell: bool
    is_paragraph: bool
    prefix: str

    def inline(self, place: str) -> Inline:
        try:
            pieces = list(_Walk(self.token.content, self.token.children or []).pieces())
        except _Lost:
            text = on_one_line(self.token.content)
            return Inline(Unit(text, PLAIN, place), (), ())
        return make_inline(pieces, place)

    def writer(self, inline: Inline) -> Write:
        wanted = _codes(self.token.children or [])

        def write(translation: str) -> str | None:
            pieces = inline.read(on_one_line(translation))
            if pieces is None:
                return None
            text = "".join(piece for piece in pieces if isinstance(piece, str))
            for special in (None, _SPECIAL):
                written = "".join(self._written(piece, special) for piece in pieces)
                if self._reads(written, wanted, text):
                    return written.replace("|", "\\|") if self.is_cell else written
            return None

        return write

    def _written(self, piece: Piece, special: re.Pattern[str] | None) -> str:
        if isinstance(piece, str):
            written = piece if special is None else special.sub(r"\\\1", piece)
        else:
            written = str(piece.raw).replace("\n", self.page.decoded.line_end + self.prefix)
        return written

    def _reads(self, written: str, wanted: Counter[tuple[str, ...]], text: str) -> bool:
        """Tell whether Markdown is read as what it was written from."""
        parse = self.page.parser.parse if self.is_paragraph else self.page.parser.parseInline
        tokens = parse(self._without_prefixes(written), self.page.env)
        inner = [token for token in tokens if token.type == "inline"]
        if len(inner) != 1 or len(tokens) != (3 if self.is_paragraph else 1):
            return False
        if self.is_paragraph and tokens[0].type != "paragraph_open":
            return False
        children = inner[0].children or []
        return _codes(children) == wanted and _words(_text(children)) == _words(text)

    def _without_prefixes(self, written: str) -> str:
        lines = _LINE_END.split(written)
        return "\n".join([lines[0], *(line.removeprefix(self.prefix) for line in lines[1:])])


@dataclass
class _Walk:
    """Follows the tokens of a block through its source."""

    source: str
    tokens: Sequence[Token]
    _at: int = 0

    def pieces(self) -> Iterator[Piece]:
        index = 0
        while index < len(self.tokens):
            token = self.tokens[index]
            if token.type == "link_open" and token.markup == "autolink":
                yield Code(self._until(">"), Role.HOLD)
                index += 3
                continue
            yield self._piece(token)
            index += 1
        if self.source[self._at :].strip():
            raise _Lost

    def _piece(self, token: Token) -> Piece:
        kind = token.type
        if kind == "text":
            return self._take(token.content)
        if kind == "text_special":
            self._take(token.markup)
            return token.content
        if kind == "softbreak":
            self._match(_SOFT)
            return " "
        if kind == "hardbreak":
            return Code(self._match(_HARD), Role.POINT)
        if kind == "code_inline":
            return Code(self._code(token.markup), Role.HOLD)
        if kind == "html_inline":
            return self._tag(token.content)
        if kind == "image":
            return Code(self._take(f"![{token.content}]") + self._tail(), Role.POINT)
        return self._end_of_pair(kind, token.markup)

    def _end_of_pair(self, kind: str, markup: str) -> Code:
        if kind == "link_open":
            return Code(self._take("["), Role.OPEN, "link")
        if kind == "link_close":
            return Code(self._take("]") + self._tail(), Role.CLOSE, "link")
        name, _, end = kind.rpartition("_")
        if name not in _PAIRS:
            raise _Lost
        return Code(self._take(markup), Role.OPEN if end == "open" else Role.CLOSE, name)

    def _tag(self, tag: str) -> Code:
        raw = self._take(tag)
        name = raw.strip("</>").split(maxsplit=1)[0].rstrip("/").lower() if raw[1:2] != "!" else ""
        if raw.startswith("</"):
            return Code(raw, Role.CLOSE, name)
        single = not name or raw.endswith("/>") or name in ("br", "img", "wbr", "hr", "input")
        return Code(raw, Role.POINT if single else Role.OPEN, name)

    def _take(self, expected: str) -> str:
        if not self.source.startswith(expected, self._at):
            raise _Lost
        self._at += len(expected)
        return expected

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.source, self._at)
        if found is None:
            raise _Lost
        self._at = found.end()
        return found[0]

    def _until(self, character: str) -> str:
        end = self.source.find(character, self._at)
        if end < 0:
            raise _Lost
        return self._take(self.source[self._at : end + 1])

    def _code(self, ticks: str) -> str:
        begin = self._at
        self._take(ticks)
        for found in _TICKS.finditer(self.source, self._at):
            if found[0] == ticks:
                self._at = found.end()
                return self.source[begin : self._at]
        raise _Lost

    def _tail(self) -> str:
        """Take what follows the text of a link: (destination "title"), [reference] or nothing."""
        begin = self._at
        if self.source.startswith("(", begin):
            end = _destination(self.source, begin + 1)
            self._at = begin if end is None else end
        elif self.source.startswith("[", begin):
            self._until("]")
        return self.source[begin : self._at]


def _destination(source: str, start: int) -> int | None:
    """Return where "destination title)" ends, None where there is none."""
    size = len(source)
    start = _skip(source, start)
    found = parseLinkDestination(source, start, size)
    end = _skip(source, found.pos if found.ok else start)
    title = parseLinkTitle(source, end, size)
    if title.ok and end > start:
        end = _skip(source, title.pos)
    return end + 1 if source.startswith(")", end) else None


def _skip(source: str, start: int) -> int:
    while start < len(source) and source[start] in " \t\n":
        start += 1
    return start


def _codes(tokens: Sequence[Token]) -> Counter[tuple[str, ...]]:
    """Return what a block has besides text, each kind with how often."""
    found: Counter[tuple[str, ...]] = Counter()
    for token in tokens:
        if token.type in ("text", "text_special", "softbreak"):
            continue
        href = str(token.attrs.get("href") or token.attrs.get("src") or "")
        content = token.content if token.type in ("code_inline", "html_inline", "image") else ""
        found[token.type, href, content] += 1
    return found


def _text(tokens: Sequence[Token]) -> str:
    """Return the text of a block, without that of links which are written as addresses."""
    pieces, in_address = [], False
    for token in tokens:
        if token.markup == "autolink":
            in_address = token.type == "link_open"
        elif token.type == "softbreak":
            pieces.append(" ")
        elif token.type in ("text", "text_special") and not in_address:
            pieces.append(token.content)
    return "".join(pieces)


def _words(text: str) -> str:
    return "".join(text.split())
