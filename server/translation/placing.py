"""Tags put into a translation by its alignment: each exactly once, nested as in the source.

An element covers characters of the source. In the translation it covers the stretch that holds the
most words aligned into it and the fewest aligned elsewhere (a largest-sum stretch), inside the
stretch of the element around it and beside those of its neighbours. So the nesting of the source
is kept whatever the alignment says. A tag without content stands behind the word that it stood
behind, or in front of the word that it stood in front of.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import regex  # type: ignore[import-untyped]

from server.translation.offsets import UnitTranslation
from server.translation.words import WORD, Words

_ATOM: Final = regex.compile(rf"{WORD}(?:['’\-]{WORD})*|\S\p{{M}}*", regex.V1)


@dataclass(frozen=True, slots=True)
class Mark:
    """An element or a tag without content, and the characters of the source that it covers.

    Attributes:
        key: Whose it is.
        end: Equal to `start` for a tag without content.
        children: Marks inside it, in order.
    """

    key: int
    start: int
    end: int
    children: list[Mark] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Tell whether it has no content."""
        return self.start == self.end


@dataclass(frozen=True, slots=True)
class Placed:
    """A mark and the characters of the translation that it covers.

    Attributes:
        sure: Whether the alignment says so.
    """

    mark: Mark
    start: int
    end: int
    sure: bool
    children: tuple[Placed, ...] = ()


@dataclass(frozen=True, slots=True)
class _Atom:
    """A word or a sign of a translation; `source` is where it comes from, -1 for unknown."""

    start: int
    end: int
    source: int


def place_marks(
    source: str,
    marks: Sequence[Mark],
    translation: UnitTranslation,
    fixed: Sequence[tuple[int, int]] = (),
) -> tuple[Placed, ...]:
    """Return where marks of a source text go in its translation, in the translation's order.

    Args:
        source: The text that the marks are of.
        marks: Properly nested, in order; nested no deeper than the stack of calls allows.
        translation: With links into `source`.
        fixed: Stretches of the translation that no tag may go into.
    """
    return _Placer(source, translation, fixed).within(marks, 0, len(translation.text), len(source))


class _Placer:
    def __init__(
        self, source: str, translation: UnitTranslation, fixed: Sequence[tuple[int, int]]
    ) -> None:
        self._source = source
        self._words = Words(source)
        self._ink = list(itertools.accumulate((not one.isspace() for one in source), initial=0))
        self._atoms = _atoms(translation, fixed)
        self._starts = [one.start for one in self._atoms]
        order = sorted(
            (one.source, index) for index, one in enumerate(self._atoms) if one.source >= 0
        )
        self._sources = [place for place, _ in order]
        self._indices = [index for _, index in order]
        self._linked = [0]
        for one in self._atoms:
            self._linked.append(self._linked[-1] + (one.source >= 0))

    def within(
        self, marks: Sequence[Mark], start: int, end: int, source_end: int, source_start: int = 0
    ) -> tuple[Placed, ...]:
        """Place the marks of one element into its stretch."""
        taken: list[tuple[int, int]] = []
        found: list[Placed] = []
        for mark in marks:
            if not mark.empty:
                whole = self._written(mark.start, mark.end) == self._written(
                    source_start, source_end
                )
                found.append(self._element(mark, start, end, taken, whole=whole))
        for mark in marks:
            if mark.empty:
                found.append(self._point(mark, start, end, taken))
        found.sort(key=lambda one: (one.start, one.end > one.start, one.mark.start))
        return tuple(found)

    def _written(self, start: int, end: int) -> int:
        """Return how many characters of the source are not blank."""
        return self._ink[end] - self._ink[start]

    def _element(
        self, mark: Mark, start: int, end: int, taken: list[tuple[int, int]], *, whole: bool
    ) -> Placed:
        if whole:
            span = self._bounds(start, end)
        else:
            span = self._stretch(mark.start, mark.end, start, end, taken)
        if span is None:  # a part of a word that is aligned as a whole
            around = self._words.start(mark.start), self._words.end(mark.end)
            span = self._stretch(*around, start, end, taken)
        sure = span is not None
        if span is None:
            span = (self._free(end, taken), self._free(end, taken))
        if span[0] < span[1]:
            insort(taken, span)
        inner = self.within(mark.children, *span, mark.end, mark.start)
        return Placed(mark, *span, sure, inner)

    def _bounds(self, start: int, end: int) -> tuple[int, int] | None:
        """Return a stretch without blanks at its ends, None for nothing but blanks."""
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        if first == last:
            return None
        return self._atoms[first].start, self._atoms[last - 1].end

    def _stretch(
        self,
        source_start: int,
        source_end: int,
        start: int,
        end: int,
        taken: Sequence[tuple[int, int]],
    ) -> tuple[int, int] | None:
        """Return the best stretch for a piece of the source inside `start:end`, None for none."""
        first, last = bisect_left(self._starts, start), bisect_left(self._starts, end)
        low = bisect_left(self._sources, source_start)
        high = bisect_left(self._sources, source_end)
        own = sorted(index for index in self._indices[low:high] if first <= index < last)
        best: tuple[int, int, int] | None = None
        begun, score, before = -1, 0, -1
        for index in own:
            atom = self._atoms[index]
            if _hits(taken, atom.start, atom.end):
                begun = -1
                continue
            gain = 0
            if begun >= 0:
                others = self._linked[index] - self._linked[before + 1]
                gain = score - others
                if gain <= 0 or _hits(taken, self._atoms[before].end, atom.start):
                    begun = -1
            if begun < 0:
                begun, gain = index, 0
            score, before = gain + 1, index
            if best is None or score > best[0]:
                best = (score, begun, index)
        if best is None:
            return None
        return self._atoms[best[1]].start, self._atoms[best[2]].end

    def _point(self, mark: Mark, start: int, end: int, taken: Sequence[tuple[int, int]]) -> Placed:
        index = bisect_left(self._sources, mark.start)
        before = self._atoms[self._indices[index - 1]].end if index else None
        behind = None
        if index < len(self._indices):
            behind = self._atoms[self._indices[index]].start
        glued = mark.start > 0 and not self._source[mark.start - 1].isspace()
        wanted = (before, behind) if glued else (behind, before)
        place = next((one for one in wanted if one is not None and start <= one <= end), None)
        if place is None:
            place = end if mark.start > 0 and (index or not self._indices) else start
        place = self._free(place, taken)
        return Placed(mark, place, place, sure=bool(self._indices))

    @staticmethod
    def _free(place: int, taken: Sequence[tuple[int, int]]) -> int:
        """Return a place, or the end of the stretch that it is inside of."""
        index = bisect_left(taken, (place, -1)) - 1
        inside = index >= 0 and place < taken[index][1]
        return taken[index][1] if inside else place


def _hits(taken: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    """Tell whether one of the stretches, which do not overlap, reaches into `start:end`."""
    index = bisect_left(taken, (end, -1)) - 1
    return index >= 0 and taken[index][1] > start


def _atoms(translation: UnitTranslation, fixed: Sequence[tuple[int, int]]) -> list[_Atom]:
    """Return the words and signs of a translation with the place each comes from.

    Of several tokens of a word the one with the most characters decides.
    """
    links = sorted(translation.links, key=lambda one: one.start)
    starts = [one.start for one in links]
    found = []
    for start, end in _spans(translation.text, fixed):
        own = links[max(0, bisect_right(starts, start) - 1) : bisect_left(starts, end)]
        best, source = 0, -1
        for one in own:
            shared = min(end, one.end) - max(start, one.start)
            if shared > best:
                best, source = shared, (one.source_start + one.source_end - 1) // 2
        found.append(_Atom(start, end, source))
    return found


def _spans(text: str, fixed: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    place = 0
    for start, end in (*fixed, (len(text), len(text))):
        for found in _ATOM.finditer(text, place, start):
            yield found.span()
        if start < end:
            yield start, end
        place = end
