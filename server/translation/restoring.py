"""Numbers that stand for placeholders, turned into the placeholders again.

A model may lose a number, write it twice, or say it in words. Whatever it does, every placeholder
of the source comes out exactly as often as it went in: what is lost is put where its place in the
source is aligned to, what is too many is taken out, and both are reported.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import regex  # type: ignore[import-untyped]

from server.translation.offsets import Edit, Edited, Link, UnitTranslation, edit
from server.translation.placeholders import Finder, Mask, Masked, numbers_in
from server.translation.words import Words

_GLUE: Final = regex.compile(r"[{}%$#@:]")
"""What may make a placeholder of its neighbours."""
Span = tuple[int, int]
Chosen = dict[int, Span]
"""For the index of each mask that came back, the run of digits that is it."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A translation with its placeholders.

    Attributes:
        translation: Links of placeholders go to their numbers in the masked source.
        places: Start, end and index of the mask, in order.
        repaired: Labels of those that the model lost or repeated.
    """

    translation: UnitTranslation
    places: tuple[tuple[int, int, int], ...]
    repaired: tuple[str, ...]


def restore(masked: Masked, translation: UnitTranslation, finder: Finder) -> Restored:
    """Put the placeholders of a masked text into its translation."""
    if not masked.masks:
        return Restored(translation, (), ())
    runs = _runs_of(masked, translation)
    links = SourceOrder(translation.links)
    chosen = _chosen(masked, runs, links)
    repaired = [
        one.placeholder.label
        for index, one in enumerate(masked.masks)
        if len(runs[one.number]) != 1
    ]
    lost = [index for index in range(len(masked.masks)) if index not in chosen]
    chosen |= _garbled(masked, translation, links, lost)
    edits = [*_replaced(masked, translation, runs, chosen)]
    edits += _inserted(masked, translation, links, chosen)
    found = edit(translation, _in_order(edits))
    clean, wrong = _checked(masked, found, finder)
    return Restored(clean.translation, clean.places, tuple(dict.fromkeys((*repaired, *wrong))))


class SourceOrder:
    """Links in the order of the source."""

    def __init__(self, links: Sequence[Link]) -> None:
        """Sort them."""
        self.links = sorted(links, key=lambda one: (one.source_start, one.start))
        self._starts = [one.source_start for one in self.links]

    def into(self, start: int, end: int) -> list[Link]:
        """Return the links that begin inside `start:end` of the source, in its order."""
        return self.links[bisect_left(self._starts, start) : bisect_left(self._starts, end)]

    def before(self, place: int) -> Link | None:
        """Return the last link that begins before a place in the source."""
        index = bisect_left(self._starts, place)
        return self.links[index - 1] if index else None

    def behind(self, place: int) -> Link | None:
        """Return the first link that begins at a place in the source or behind it."""
        index = bisect_left(self._starts, place)
        return self.links[index] if index < len(self.links) else None


def _runs_of(masked: Masked, translation: UnitTranslation) -> dict[int, list[Span]]:
    """Return the runs of digits that are each mask's number.

    Of several those do not count that are aligned to other numbers: "5 PM" became "17".
    """
    runs: dict[int, list[Span]] = {one.number: [] for one in masked.masks}
    for start, end, number in numbers_in(translation.text):
        if number in runs:
            runs[number].append((start, end))
    origins = _Origins(masked, translation.links)
    for number, own in runs.items():
        if len(own) > 1:
            runs[number] = [run for run in own if not origins.known(*run)] or own[:1]
    return runs


class _Origins:
    """Which numbers of a translation come from numbers of the source that stand for nothing."""

    def __init__(self, masked: Masked, links: Sequence[Link]) -> None:
        digits = {place for start, end, _ in numbers_in(masked.text) for place in range(start, end)}
        digits -= {place for one in masked.masks for place in range(one.start, one.end)}
        self._starts = {
            one.start
            for one in links
            if any(place in digits for place in range(one.source_start, one.source_end))
        }

    def known(self, start: int, end: int) -> bool:
        """Tell whether a number comes from such a number."""
        return any(place in self._starts for place in range(start, end))


def _chosen(masked: Masked, runs: dict[int, list[Span]], links: SourceOrder) -> Chosen:
    """Return which run is a mask: of several the one that is aligned to it, else the first."""
    chosen: Chosen = {}
    for index, one in enumerate(masked.masks):
        own = runs[one.number]
        linked = links.into(one.start, one.end) if len(own) > 1 else []
        places = {link.start for link in linked}
        aligned = [run for run in own if any(place in places for place in range(*run))]
        if own:
            chosen[index] = (aligned or own)[0]
    return chosen


def _garbled(
    masked: Masked, translation: UnitTranslation, links: SourceOrder, lost: Sequence[int]
) -> Chosen:
    """Return the runs of digits that a model made of lost numbers.

    Such a run is aligned to the number, and the source has no such number.
    """
    if not lost:
        return {}
    known = {number for _, _, number in numbers_in(masked.text)}
    strange = {
        place: (start, end)
        for start, end, number in numbers_in(translation.text)
        if number not in known
        for place in range(start, end)
    }
    found: Chosen = {}
    used: set[Span] = set()
    for index in lost:
        one = masked.masks[index]
        for link in links.into(one.start, one.end):
            run = strange.get(link.start)
            if run is not None and run not in used:
                found[index] = run
                used.add(run)
                break
    return found


def _replaced(
    masked: Masked, translation: UnitTranslation, runs: dict[int, list[Span]], chosen: Chosen
) -> Iterator[Edit]:
    """Yield edits of the numbers that came back, and of those that came too often."""
    text = translation.text
    for index, (start, end) in chosen.items():
        one = masked.masks[index]
        start -= one.before and text[start - 1 : start] == " "
        end += one.after and text[end : end + 1] == " "
        yield Edit(start, end, one.placeholder.raw, (one.start, one.end), index)
    kept = set(chosen.values())
    for own in runs.values():
        for start, end in own:
            if (start, end) not in kept:
                yield Edit(start - (text[start - 1 : start] == " "), end, "")


def _inserted(
    masked: Masked, translation: UnitTranslation, links: SourceOrder, chosen: Chosen
) -> Iterator[Edit]:
    """Yield edits that put lost placeholders where their source is aligned to."""
    text = translation.text
    words = Words(text)
    taken: set[int] = set()
    for index, one in enumerate(masked.masks):
        if index in chosen:
            continue
        place = _place(one, links, words, len(text))
        if words.touch(place - 1) or place in taken:
            yield Edit(place, place, " ")
        taken.add(place)
        yield Edit(place, place, one.placeholder.raw, (one.start, one.end), index)
        if words.touch(place):
            yield Edit(place, place, " ")


def _place(one: Mask, links: SourceOrder, words: Words, length: int) -> int:
    own = links.into(one.start, one.end)
    if own:
        return words.start(min(link.start for link in own))
    before = links.before(one.start)
    if before is not None:
        return words.end(before.end)
    behind = links.behind(one.end)
    return length if behind is None else words.start(behind.start)


def _in_order(edits: Sequence[Edit]) -> list[Edit]:
    """Return edits by their places; those at one place keep their order, none reach into others."""
    done, found = 0, []
    for one in sorted(edits, key=lambda one: (one.start, one.end)):
        start = max(one.start, done)
        done = max(start, one.end)
        found.append(replace(one, start=start, end=done))
    return found


def _checked(masked: Masked, found: Edited, finder: Finder) -> tuple[Edited, list[str]]:
    """Return a translation in which every placeholder is read as often as it should be.

    What the model wrote may be a placeholder of the source itself, or make another one of its
    neighbour: "5%" and "%s" together read "%%" and "s".
    """
    wrong = _wrong(masked, found, finder)
    if not wrong:
        return found, []
    labels = [one.placeholder.label for one in masked.masks if one.placeholder.raw in wrong]
    found = _reworked(masked, found, lambda text: _spurious(text, masked, finder))
    if _wrong(masked, found, finder):
        found = _reworked(masked, found, lambda text: [one.span() for one in _GLUE.finditer(text)])
    return found, labels


def _wrong(masked: Masked, found: Edited, finder: Finder) -> set[str]:
    """Return the placeholders that the text does not have as often as the source.

    A word to keep may come more often: it is a word like others.
    """
    wanted = Counter(one.placeholder.raw for one in masked.masks)
    read = Counter(one.raw for one in finder.find(found.translation.text))
    return {
        raw
        for raw, count in wanted.items()
        if finder.finds(raw) and (read[raw] < count or (read[raw] > count and finder.knows(raw)))
    }


def _spurious(text: str, masked: Masked, finder: Finder) -> list[Span]:
    wanted = {one.placeholder.raw for one in masked.masks}
    return [
        (one.start, one.end)
        for one in finder.find(text)
        if one.raw in wanted and finder.knows(one.raw)
    ]


def _reworked(masked: Masked, found: Edited, unwanted: Callable[[str], Sequence[Span]]) -> Edited:
    """Take what is unwanted out of the model's own words, and put blanks around placeholders."""
    text, edits, done = found.translation.text, [], 0
    for start, end, key in (*found.places, (len(text), len(text), None)):
        edits += [Edit(done + a, done + b, "") for a, b in unwanted(text[done:start])]
        if key is None:
            break
        if start > done and not text[start - 1].isspace():
            edits.append(Edit(start, start, " "))
        one = masked.masks[key]
        edits.append(Edit(start, end, text[start:end], (one.start, one.end), key))
        if end < len(text) and not text[end].isspace():
            edits.append(Edit(end, end, " "))
        done = end
    return edit(found.translation, edits)
