"""Which characters of a translation translate which characters of its source.

The engine aligns tokens. Here they become characters, so that what was taken out of a text (tags,
placeholders) can be put where it belongs, and the translations of sentences become that of the
text they were split from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hub.bases.tokenizer import BaseTokenizer


@dataclass(frozen=True, slots=True)
class Link:
    """Characters `start:end` of a translation and those of the source that they come from."""

    start: int
    end: int
    source_start: int
    source_end: int


@dataclass(frozen=True, slots=True)
class UnitTranslation:
    """A translated text with its alignment.

    Attributes:
        links: In the order of the translation, without overlaps but for the bytes of one
            character. Empty where nobody asked for an alignment.
    """

    text: str
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A sentence of a text and its translation.

    Attributes:
        start: Where it begins in the text.
        end: Where it ends.
        before: What stands in front of the translation; None for what is between the sentence and
            the one before in the source.
    """

    start: int
    end: int
    translation: UnitTranslation
    before: str | None = None


def align(
    tokenizer: BaseTokenizer,
    text: str,
    source: str,
    target: str,
    token_ids: Sequence[int],
    alignment: Sequence[int],
) -> UnitTranslation:
    """Return the text of output tokens with its alignment in characters.

    Args:
        tokenizer: The base's.
        text: The source as it was given to `encode_source`.
        source: Its language.
        target: The language of the output.
        token_ids: A candidate's tokens.
        alignment: The candidate's.
    """
    spans = tokenizer.source_spans(text, source, target)
    output = tokenizer.decode(token_ids)
    links = []
    for (start, end), place in zip(tokenizer.target_spans(token_ids), alignment, strict=True):
        start += len(output[start:end]) - len(output[start:end].lstrip())
        own = spans[place]
        if start < end and own is not None and own[0] < own[1]:
            links.append(Link(start, end, *own))
    return UnitTranslation(output, tuple(links))


def unchanged(text: str) -> UnitTranslation:
    """Return a text as its own translation."""
    links = [Link(place, place + 1, place, place + 1) for place in range(len(text))]
    return UnitTranslation(text, tuple(links))


def join_segments(text: str, parts: Iterable[Part]) -> UnitTranslation:
    """Return the translation of a text from those of its sentences, in order.

    What lies between the sentences is copied, and so is what comes before the first one and
    behind the last.
    """
    joined = _Joined(text)
    for part in parts:
        joined.gap(part.start, part.before)
        joined.add(part)
    joined.gap(len(text), None)
    return UnitTranslation("".join(joined.pieces), tuple(joined.links))


class _Joined:
    def __init__(self, text: str) -> None:
        self._text = text
        self._done = 0  # characters of the source
        self._length = 0  # characters of the translation
        self.pieces: list[str] = []
        self.links: list[Link] = []

    def gap(self, start: int, written: str | None) -> None:
        """Go on to `start` in the source."""
        own = self._text[self._done : start]
        gap = own if written is None else written
        if own.strip() and gap == own:
            self._link(unchanged(own), self._done)
        self._append(gap)
        self._done = start

    def add(self, part: Part) -> None:
        """Append a sentence."""
        self._link(part.translation, part.start)
        self._append(part.translation.text)
        self._done = part.end

    def _link(self, own: UnitTranslation, source: int) -> None:
        by = self._length
        self.links += [
            Link(one.start + by, one.end + by, one.source_start + source, one.source_end + source)
            for one in own.links
        ]

    def _append(self, text: str) -> None:
        self.pieces.append(text)
        self._length += len(text)


@dataclass(frozen=True, slots=True)
class Edit:
    """Characters of a translation that are replaced.

    Attributes:
        link: Source characters that the new ones stand for, None for none.
        key: What the new characters are, for whoever needs to find them again.
    """

    start: int
    end: int
    text: str
    link: tuple[int, int] | None = None
    key: int | None = None


@dataclass(frozen=True, slots=True)
class Edited:
    """A translation after edits, and where those with a key stand: start, end, key."""

    translation: UnitTranslation
    places: tuple[tuple[int, int, int], ...]


def edit(translation: UnitTranslation, edits: Sequence[Edit]) -> Edited:
    """Apply edits that do not overlap, in order; links into replaced characters are dropped."""
    pieces: list[str] = []
    links: list[Link] = []
    places: list[tuple[int, int, int]] = []
    old = iter(sorted(translation.links, key=lambda one: one.start))
    waiting = next(old, None)
    done = length = 0
    for one in (*edits, Edit(len(translation.text), len(translation.text), "")):
        by = length - done
        while waiting is not None and waiting.start < one.end:
            if waiting.start >= done and waiting.end <= one.start:
                links.append(replace(waiting, start=waiting.start + by, end=waiting.end + by))
            waiting = next(old, None)
        pieces += [translation.text[done : one.start], one.text]
        length += one.start - done
        end = length + len(one.text)
        if one.link is not None and one.text:
            links.append(Link(length, end, *one.link))
        if one.key is not None:
            places.append((length, end, one.key))
        done, length = one.end, end
    return Edited(UnitTranslation("".join(pieces), tuple(links)), tuple(places))
