"""Running text of a page: what is translated together, and the tags that stand in it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from hub.text import is_blank
from server.translation.html_elements import TEXT_ATTRIBUTES
from server.translation.html_scan import RAW_TEXT, Kind, Token, attributes
from server.translation.html_text import Decoded, decode
from server.translation.html_tree import COLUMN, Tree, is_void
from server.translation.placeholders import Finder, Masked, Placeholder, mask
from server.translation.placing import Mark

_BLANKS: Final = re.compile(r"[ \t\r\n\f]+")
_HELD: Final = "\ufffc"
"""Shown for an element that stays as it is (Unicode's object replacement character)."""
_LONGEST_LABEL: Final = 80

Span = tuple[int, int]


class _Role(Enum):
    TEXT = 0
    POINT = 1
    HELD = 2
    OPEN = 3
    CLOSE = 4


@dataclass(frozen=True, slots=True)
class _Item:
    """A piece of running text, `html[start:end]`; `pair` joins the tags of an element."""

    role: _Role
    start: int
    end: int
    pair: int = -1


@dataclass(frozen=True, slots=True)
class HtmlUnit:
    """Text of one sentence or more, with the tags inside it.

    Attributes:
        start: Where it begins in the page.
        end: Where it ends.
        held: What is written for each mask, as places in the page.
        tags: For the key of each mark, the places of its start tag and end tag; of a tag without
            content both are the same.
        quote: The quote around it, where it is the value of an attribute.
    """

    start: int
    end: int
    masked: Masked
    held: tuple[Span, ...] = ()
    marks: tuple[Mark, ...] = ()
    tags: tuple[tuple[Span, Span], ...] = ()
    quote: str = ""


def running_text(html: str, tokens: Sequence[Token], tree: Tree) -> Iterator[list[_Item]]:
    """Yield the pieces of text between what interrupts it."""
    items: list[_Item] = []
    index = 0
    while index < len(tokens):
        token, partner = tokens[index], tree.partner[index]
        held = index in tree.verbatim and partner >= 0 and not tree.apart[index]
        if held and not tree.skipped[index]:
            role = _Role.POINT if token.name in RAW_TEXT else _Role.HELD
            items.append(_Item(role, token.start, tokens[partner].end))
            index = partner + 1
            continue
        if _interrupts(token, index, tree):
            yield items
            items = []
            if token.kind is Kind.TEXT and not tree.skipped[index]:
                yield from ([_Item(_Role.TEXT, *span)] for span in _columns(html, token))
        else:
            items.append(_item(token, index, partner))
        index += 1
    yield items


def _interrupts(token: Token, index: int, tree: Tree) -> bool:
    if token.kind is Kind.RAW:
        return tree.skipped[index] or token.name != "title"
    return tree.skipped[index] or tree.apart[index] or index in tree.verbatim


def _columns(html: str, token: Token) -> Iterator[Span]:
    start = token.start
    for found in COLUMN.finditer(html, token.start, token.end):
        yield start, found.start()
        start = found.end()
    yield start, token.end


def _item(token: Token, index: int, partner: int) -> _Item:
    if token.kind in (Kind.TEXT, Kind.RAW):
        return _Item(_Role.TEXT, token.start, token.end)
    if token.kind is Kind.OTHER or (token.kind is Kind.START and is_void(token)):
        return _Item(_Role.POINT, token.start, token.end)
    role = _Role.OPEN if token.kind is Kind.START else _Role.CLOSE
    return _Item(role, token.start, token.end, min(index, partner))


def make_unit(html: str, items: Sequence[_Item], finder: Finder) -> HtmlUnit | None:
    """Return the unit that pieces make, None where nothing in them is to be translated.

    Tags around all of the text, and what stands before or behind it, are not part of the unit.
    """
    first, last = _trim(html, items)
    if first > last:
        return None
    builder = _Builder(html, finder)
    for item in items[first : last + 1]:
        builder.add(item)
    return builder.unit(items[first].start, items[last].end)


def _trim(html: str, items: Sequence[_Item]) -> Span:
    """Return the first and the last piece that a translation can change the place of."""
    first, last = 0, len(items) - 1
    while True:
        while first <= last and _outside(html, items[first]):
            first += 1
        while first <= last and _outside(html, items[last]):
            last -= 1
        if first >= last or not _is_element(items[first], items[last]):
            return first, last
        first, last = first + 1, last - 1


def _is_element(begin: _Item, end: _Item) -> bool:
    """Tell whether two pieces are the tags of one element."""
    return begin.role is _Role.OPEN and end.role is _Role.CLOSE and begin.pair == end.pair


def _outside(html: str, item: _Item) -> bool:
    if item.role is _Role.TEXT:
        return is_blank(decode(html, item.start, item.end).text)
    return item.role is _Role.POINT


@dataclass
class _Open:
    """An element whose end tag has not come yet."""

    span: Span
    start: int
    ink: int
    children: list[Mark] = field(default_factory=list)


class _Builder:
    """Puts the text of a unit together."""

    def __init__(self, html: str, finder: Finder) -> None:
        self._html = html
        self._finder = finder
        self._pieces: list[str] = []
        self._length = 0
        self._ink = 0  # characters that are not blank, and elements that stay as they are
        self._blank = True  # whether a blank would be the first or the second in a row
        self._found: list[Placeholder] = []
        self._held: list[Span] = []
        self._tags: list[tuple[Span, Span]] = []
        self._open: list[_Open] = [_Open((0, 0), 0, 0)]

    def add(self, item: _Item) -> None:
        """Take the next piece."""
        span = (item.start, item.end)
        if item.role is _Role.TEXT:
            self._text(decode(self._html, *span))
        elif item.role is _Role.HELD:
            self._hold(_HELD, span, self._label(span))
        elif item.role is _Role.POINT:
            self._mark(self._length, span, span, [])
        elif item.role is _Role.OPEN:
            self._open.append(_Open(span, self._length, self._ink))
        else:
            self._close(span)

    def _close(self, span: Span) -> None:
        one = self._open.pop()
        if one.ink == self._ink:  # nothing inside that could say where it belongs
            whole = (one.span[0], span[1])
            self._mark(self._length, whole, whole, [])
        else:
            self._mark(one.start, one.span, span, one.children)

    def _mark(self, start: int, begin: Span, end: Span, children: list[Mark]) -> None:
        mark = Mark(len(self._tags), start, self._length, children)
        self._tags.append((begin, end))
        self._open[-1].children.append(mark)

    def _text(self, decoded: Decoded) -> None:
        done = 0
        for one in self._finder.find(decoded.text):
            self._append(decoded.text[done : one.start])
            span = (decoded.raw(one.start), decoded.raw(one.end))
            self._hold(one.raw, span, one.label)
            done = one.end
        self._append(decoded.text[done:])

    def _append(self, text: str) -> None:
        text = _BLANKS.sub(" ", text)
        if self._blank and text.startswith(" "):
            text = text[1:]
        if not text:
            return
        self._pieces.append(text)
        self._length += len(text)
        self._ink += len(text) - text.count(" ")
        self._blank = text.endswith(" ")

    def _hold(self, shown: str, span: Span, label: str) -> None:
        start = self._length
        self._pieces.append(shown)
        self._length += len(shown)
        self._ink += 1
        self._blank = False
        self._found.append(Placeholder(start, self._length, shown, label))
        self._held.append(span)

    def _label(self, span: Span) -> str:
        return label_of(self._html, span)

    def unit(self, start: int, end: int) -> HtmlUnit | None:
        """Return what was put together."""
        masked = mask("".join(self._pieces).rstrip(" "), self._found)
        if is_blank(masked.outside):
            return None
        moved = _Moved(self._found, masked)
        marks = tuple(moved.mark(one) for one in self._open[0].children)
        start += self._leading(start, end)
        end -= self._trailing(start, end)
        return HtmlUnit(start, end, masked, tuple(self._held), marks, tuple(self._tags))

    def _leading(self, start: int, end: int) -> int:
        found = _BLANKS.match(self._html, start, end)
        return 0 if found is None else found.end() - start

    def _trailing(self, start: int, end: int) -> int:
        count = 0
        while end - count > start and self._html[end - count - 1] in " \t\r\n\f":
            count += 1
        return count


@dataclass(frozen=True, slots=True)
class _Moved:
    """Where marks stand when placeholders have become numbers."""

    found: Sequence[Placeholder]
    masked: Masked

    def mark(self, one: Mark) -> Mark:
        children = [self.mark(child) for child in one.children]
        return Mark(one.key, self.place(one.start), self.place(one.end), children)

    def place(self, place: int) -> int:
        index = bisect_right(self.found, place, key=lambda one: one.end) - 1
        if index < 0:
            return min(place, len(self.masked.text))
        own, end = self.masked.masks[index], self.found[index].end
        by = own.end + (own.after if place > end else 0)
        return min(by + place - end, len(self.masked.text))


def label_of(html: str, span: Span) -> str:
    """Return what a tag is called in a warning."""
    text = html[span[0] : min(span[1], span[0] + _LONGEST_LABEL)]
    return text if span[1] - span[0] <= _LONGEST_LABEL else f"{text}…"


def attribute_units(
    html: str, tokens: Sequence[Token], tree: Tree, finder: Finder
) -> Iterator[HtmlUnit]:
    """Yield the values of attributes that people read; those without quotes are left alone."""
    for index, token in enumerate(tokens):
        if token.kind is not Kind.START or tree.skipped[index] or index in tree.verbatim:
            continue
        for name, start, end in attributes(html, token):
            quote = html[start : start + 1]
            if name not in TEXT_ATTRIBUTES or end - start < 2 or quote not in "\"'":
                continue
            decoded = decode(html, start + 1, end - 1)
            found = finder.find(decoded.text)
            masked = mask(decoded.text, found)
            if html[end - 1] == quote and not is_blank(masked.outside):
                held = tuple((decoded.raw(one.start), decoded.raw(one.end)) for one in found)
                yield HtmlUnit(start + 1, end - 1, masked, held, quote=quote)
