"""Sentences of a text, and parts of sentences that are longer than the model takes.

Models for translation are trained on sentences and are at their best with them. So a text is split
at blank lines, at the items of a list and between sentences, and every piece becomes a row of the
batch. What lies between the pieces (blanks, line breaks, the bullets of a list) is never
translated: it comes back as it was. A line break inside a sentence is a blank, as in mail and in
Markdown.

The boundaries of sentences are those of the sentencex package. It takes the full stop behind a
number or an initial ("21. Oktober", "d. C.", "1984. 10. 28.") for the end of a sentence more often
than is good for dates; such boundaries are left out here. Joining two sentences costs little,
cutting one in half costs its meaning.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import regex  # type: ignore[import-untyped]
import sentencex

from hub.text import is_blank
from server.messages import Split

Count = Callable[[str], int]
"""Source tokens of a text, language and end tokens included."""

_BREAK: Final = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")
_BULLET: Final = re.compile(r"[-*•‣◦·▪–—](?=[ \t\u00a0])")
_LIST_ITEM: Final = re.compile(r"[ \t]*(?:[-*•‣◦·▪–—]|\d{1,3}[.)])[ \t\u00a0]")
# What lies between two words. It is looked at from its beginning on, so that a thousand dots are
# looked at once each, and not from every one of them.
_BETWEEN: Final = regex.compile(
    r"(?<![\p{Sentence_Terminal=Yes}\p{P}\s])[\p{Sentence_Terminal=Yes}\p{P}\s]++(?=[\p{L}\p{N}])"
)
_STOP: Final = regex.compile(r"\p{Sentence_Terminal=Yes}")
_FULL_STOP: Final = re.compile(r"(\w*)\.\W*$")
_NEAR: Final = 100
"""Characters in front of a boundary that decide about it."""
# A letter that stands for a name or a unit, or a numeral: the abbreviation goes on behind the stop.
_ABBREVIATED: Final = re.compile(r"\w(?:[.-]|\W*$)|[IVX]+\.")
# Scripts in which a full stop only abbreviates.
_WITHOUT_STOPS: Final = regex.compile(r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]")
_IDEOGRAPHIC: Final = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]")
_MYANMAR_COMMA: Final = "\u104a"
_SHORT_NUMBER: Final = 2
"""Digits of a number whose full stop makes it an ordinal."""

# Where a long sentence may be cut, the best places first: behind what ends a clause, behind a
# comma, at a blank, and as a last resort between any two characters as people see them.
_CUTS: Final = (
    regex.compile(r"[;:.!?…؛؟。；：！？।]['\"”’»)\]]*(?:\s+|(?<=[。；：！？]))"),
    regex.compile(r"[,،、，–—]['\"”’»)\]]*(?:\s+|(?<=[、，]))"),
    regex.compile(r"\s+"),
    regex.compile(r"\X"),
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a text that is translated on its own: `text[start:end]`, without outer blanks.

    Attributes:
        part: Whether it is a part of a sentence that was too long.
    """

    start: int
    end: int
    part: bool = False


def segments_of(text: str, language: str, split: Split) -> list[Segment]:
    """Return the pieces of a text, in order; what is between them is not translated.

    Args:
        text: Any text; one without anything to translate has no pieces.
        language: BCP-47; decides which abbreviations do not end a sentence.
        split: Where to split.
    """
    if split is Split.OFF:
        return list(_trimmed(text, 0, len(text)))
    found: list[Segment] = []
    sentences = split is not Split.LINES
    for start, end in _paragraphs(text) if split is Split.SENTENCES else _lines(text):
        stops = [end]
        if sentences:
            stops = [start + stop for stop in _sentence_ends(text[start:end], language)]
        for stop in stops:
            found += _trimmed(text, start, stop)
            start = stop
    return found


def fit(text: str, segment: Segment, count: Count, limit: int) -> list[Segment]:
    """Return a segment as parts of at most `limit` tokens each, cut at the best places.

    A part that has one character as people see it and still more tokens is returned as it is.
    """
    parts: list[Segment] = []
    start = segment.start
    while start < segment.end:
        stop = _cut(text, start, segment.end, count, limit)
        parts += _trimmed(text, start, stop, part=True)
        start = stop
    return parts if len(parts) > 1 else [segment]


def _lines(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for found in _BREAK.finditer(text):
        yield start, found.start()
        start = found.end()
    yield start, len(text)


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """Yield runs of lines between blank lines, each item of a list for itself."""
    begun: int | None = None
    last = 0
    for start, end in _lines(text):
        blank = not text[start:end].strip()
        if begun is not None and (blank or _LIST_ITEM.match(text, start, end)):
            yield begun, last
            begun = None
        if not blank:
            begun = start if begun is None else begun
            last = end
    if begun is not None:
        yield begun, last


def _trimmed(text: str, start: int, end: int, *, part: bool = False) -> Iterator[Segment]:
    """Yield the piece without outer blanks and bullet, nothing where that leaves nothing."""
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    end -= len(piece) - len(piece.rstrip())
    bullet = None if part else _BULLET.match(text, start, end)
    if bullet is not None:
        rest = text[bullet.end() : end]
        start = end - len(rest.lstrip())
    if start < end and not is_blank(text[start:end]):
        yield Segment(start, end, part)


def _sentence_ends(paragraph: str, language: str) -> list[int]:
    """Return where the sentences of a paragraph end, its own end last."""
    if not _has_inner_stop(paragraph):
        return [len(paragraph)]
    line = _BREAK.sub(lambda found: " " * len(found[0]), paragraph)
    pieces = sentencex.segment(language.partition("-")[0], line)
    if "".join(pieces) != line:
        return [len(line)]
    ends: list[int] = []
    end = begun = 0
    for piece, following in itertools.pairwise(pieces):
        end += len(piece)
        if _is_boundary(line[max(begun, end - _NEAR) : end], following):
            ends.append(end)
            begun = end
    return [*ends, len(line)]


def _has_inner_stop(text: str) -> bool:
    """Tell whether a sentence may end before the text does: else there is nothing to split."""
    return any(_STOP.search(found[0]) for found in _BETWEEN.finditer(text))


def _is_boundary(before: str, after: str) -> bool:
    """Tell whether a sentence ends between two pieces that sentencex has told apart."""
    if before.rstrip().endswith(_MYANMAR_COMMA):
        return False
    stop = _FULL_STOP.search(before.rstrip())
    if stop is None:
        return True
    word, rest = stop[1], after.strip().lstrip("\"'“„«‚‘¿¡([")
    if word.isdigit() and len(word) <= _SHORT_NUMBER:
        return False
    if len(word) == 1 and word.isalpha() and not _IDEOGRAPHIC.match(word):
        return False
    if _WITHOUT_STOPS.search(before) or _ABBREVIATED.match(rest):
        return False
    return rest[:1].isalpha() and not rest[:1].islower()


def _cut(text: str, start: int, end: int, count: Count, limit: int) -> int:
    """Return where the next part ends that begins at `start`."""
    longest = _longest(text, start, end, count, limit)
    if longest == end:
        return end
    preferred = longest
    if end - longest <= longest - start:  # two halves are better than a whole and a stub
        preferred = start + (end - start + 1) // 2
    for pattern in _CUTS:
        places = [found.end() for found in pattern.finditer(text, start, longest)]
        places = [place for place in places if start + (longest - start) // 3 < place]
        if places:
            return int(min(places, key=lambda place: abs(place - preferred)))
    whole = regex.match(r"\X", text, pos=start)
    first = int(whole.end()) if whole else start + 1
    return max(longest, first)


def _longest(text: str, start: int, end: int, count: Count, limit: int) -> int:
    """Return the end of the longest part from `start` that has at most `limit` tokens.

    Only text near that end is tokenized, so that a long text costs time in proportion.
    """
    low, width = start, limit
    high = min(end, start + width)
    while count(text[start:high]) <= limit:
        if high == end:
            return end
        low, width = high, 2 * width
        high = min(end, start + width)
    while high - low > 1:  # low fits, high does not
        middle = (low + high) // 2
        if count(text[start:middle]) <= limit:
            low = middle
        else:
            high = middle
    return low
