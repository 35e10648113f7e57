"""Running text with codes in it ⇄ HTML that a translation server can align.

Formats have codes of their own inside a sentence: XLIFF's elements, the runs of a word processor,
the stars and brackets of Markdown. They become elements of HTML, because the server places those by
the alignment of the words:

    pair   <g id="1">…</g>        around words: bold, a link
    point  <x id="2"></x>         a place between words: a picture, a line end
    hold   <code id="3"></code>   a word that stays as it is: a variable, code

The text of a translation is read back strictly: every code once, pairs nested.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from hub.documents.model import HTML, PLAIN, State, Unit, has_words, split_blanks

_OURS: Final = re.compile(r'<(g|x|code) id="(\d{1,9})">|</(g|x|code)>')


class Role(Enum):
    """What a code does."""

    OPEN = "open"
    CLOSE = "close"
    POINT = "point"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Code:
    """A code of the format.

    Attributes:
        raw: What the format needs to write it again.
        key: Joins the two ends of a pair.
    """

    raw: object
    role: Role
    key: object = None


Piece = str | Code


@dataclass(frozen=True, slots=True)
class Inline:
    """Running text with its codes.

    Attributes:
        unit: What is translated; None where there are no words.
        before: Pieces in front of the unit's text.
        after: Pieces behind it.
        ends: For each id in the unit's HTML its code, and the closing one of a pair.
    """

    unit: Unit | None
    before: tuple[Piece, ...]
    after: tuple[Piece, ...]
    ends: tuple[tuple[Code, Code | None], ...] = ()

    def read(self, translation: str) -> list[Piece] | None:
        """Return the translated pieces, None where codes are missing, doubled or crossed."""
        if self.unit is not None and self.unit.mime_type == PLAIN:
            return [*self.before, translation, *self.after]
        inner = _Reader(self.ends).read(translation)
        return None if inner is None else [*self.before, *inner, *self.after]


def make_inline(pieces: Sequence[Piece], place: str, state: State = State.UNTRANSLATED) -> Inline:
    """Return running text as a unit; codes and blanks around all words stay outside of it."""
    paired = _paired(_joined(pieces))
    first, last = _trim(paired)
    before, inner, after = paired[:first], list(paired[first:last]), paired[last:]
    texts = "".join(piece for piece in inner if isinstance(piece, str))
    if not has_words(texts):
        return Inline(None, tuple(pieces), ())
    lead, trail = "", ""
    if isinstance(inner[0], str):
        lead, inner[0], rest = split_blanks(inner[0])
        inner[0] += rest
    if isinstance(inner[-1], str):
        rest, inner[-1], trail = split_blanks(inner[-1])
        inner[-1] = rest + inner[-1]
    around = (*before, *([lead] if lead else [])), (*([trail] if trail else []), *after)
    if len(inner) == 1 and isinstance(inner[0], str):
        return Inline(Unit(inner[0], PLAIN, place, state), *around)
    writer = _Writer()
    text = "".join(map(writer.write, inner))
    return Inline(Unit(text, HTML, place, state), *around, tuple(writer.ends))


def _joined(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Yield the pieces, neighbouring texts as one."""
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        if text:
            yield text
            text = ""
        yield piece
    if text:
        yield text


def _paired(pieces: Iterator[Piece]) -> list[Piece]:
    """Return the pieces; ends of pairs that do not nest become points."""
    found = list(pieces)
    opened: list[int] = []
    waiting: Counter[object] = Counter()  # keys of `opened`
    for index, piece in enumerate(found):
        if isinstance(piece, str) or piece.role not in (Role.OPEN, Role.CLOSE):
            continue
        if piece.role is Role.OPEN:
            opened.append(index)
            waiting[piece.key] += 1
        elif not _close(found, opened, waiting, index):
            found[index] = Code(piece.raw, Role.POINT, piece.key)
    for index in opened:
        found[index] = _as_point(found[index])
    return found


def _close(found: list[Piece], opened: list[int], waiting: Counter[object], index: int) -> bool:
    """Pair a closing code with the last opening one of its key; those between become points."""
    piece = found[index]
    assert isinstance(piece, Code)
    while waiting[piece.key]:
        start = opened.pop()
        begin = found[start]
        assert isinstance(begin, Code)
        waiting[begin.key] -= 1
        if begin.key == piece.key:
            mark = (start, index)  # one key for this pair alone
            found[start] = Code(begin.raw, Role.OPEN, mark)
            found[index] = Code(piece.raw, Role.CLOSE, mark)
            return True
        found[start] = _as_point(begin)
    return False


def _as_point(piece: Piece) -> Piece:
    return piece if isinstance(piece, str) else Code(piece.raw, Role.POINT, piece.key)


def _trim(pieces: Sequence[Piece]) -> tuple[int, int]:
    """Return the bounds of what a translation can change the order of."""
    first, last = 0, len(pieces)
    while True:
        while first < last and _is_outside(pieces[first]):
            first += 1
        while first < last and _is_outside(pieces[last - 1]):
            last -= 1
        if last - first < 2 or not _is_pair(pieces[first], pieces[last - 1]):
            return first, last
        first, last = first + 1, last - 1


def _is_outside(piece: Piece) -> bool:
    return not piece.strip() if isinstance(piece, str) else piece.role is Role.POINT


def _is_pair(begin: Piece, end: Piece) -> bool:
    if isinstance(begin, str) or isinstance(end, str):
        return False
    return begin.role is Role.OPEN and end.role is Role.CLOSE and begin.key == end.key


@dataclass
class _Writer:
    """Writes pieces as HTML and numbers their codes."""

    ends: list[tuple[Code, Code | None]] = field(default_factory=list)
    _open: list[int] = field(default_factory=list)

    def write(self, piece: Piece) -> str:
        if isinstance(piece, str):
            return html.escape(piece, quote=False)
        if piece.role is Role.CLOSE:
            number = self._open.pop()
            self.ends[number] = (self.ends[number][0], piece)
            return "</g>"
        number = len(self.ends)
        self.ends.append((piece, None))
        if piece.role is Role.OPEN:
            self._open.append(number)
            return f'<g id="{number}">'
        name = "code" if piece.role is Role.HOLD else "x"
        return f'<{name} id="{number}"></{name}>'


@dataclass
class _Reader:
    """Reads a translation of what `_Writer` wrote."""

    ends: tuple[tuple[Code, Code | None], ...]
    _pieces: list[Piece] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)
    _open: list[tuple[str, int]] = field(default_factory=list)

    def read(self, translation: str) -> list[Piece] | None:
        done = 0
        for found in _OURS.finditer(translation):
            self._text(translation[done : found.start()])
            done = found.end()
            if not (self._begin(found[1], int(found[2])) if found[1] else self._end(found[3])):
                return None
        self._text(translation[done:])
        whole = len(self._seen) == len(self.ends) and not self._open
        return self._pieces if whole else None

    def _text(self, text: str) -> None:
        if text:
            self._pieces.append(html.unescape(text))

    def _begin(self, name: str, number: int) -> bool:
        if number >= len(self.ends) or number in self._seen:
            return False
        self._seen.add(number)
        self._open.append((name, number))
        self._pieces.append(self.ends[number][0])
        return True

    def _end(self, name: str) -> bool:
        if not self._open or self._open[-1][0] != name:
            return False
        _, number = self._open.pop()
        close = self.ends[number][1]
        if close is not None:
            self._pieces.append(close)
        return True
