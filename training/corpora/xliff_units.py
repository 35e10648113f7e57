"""A unit of XLIFF as it is read, and how its sides are paired."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from training.corpora.inline import FlatText
from training.corpora.plurals import PluralForms, fitting_plural_forms, pair_forms
from training.corpora.segments import Paired

_FORM: Final = re.compile(r"\[(\d{1,3})\]\Z", re.ASCII)


@dataclass(frozen=True)
class Part:
    """One of the segments that a side is cut into, by its number in the unit, "" without one."""

    mid: str
    flat: FlatText


@dataclass
class Unit:
    """One unit: its sides, the segments in them, and why it may not count.

    Attributes:
        name: Its id.
        is_open: Its state says that its target is no translation yet.
        is_header: It is the header of a gettext catalogue, not a message.
        parts: The segments of each side that is cut into such.
        outside: The sides with text beside their segments.
        languages: What each side itself states.
        is_repeated: A side stands in it twice.
    """

    line: int
    name: str
    translate: bool
    is_open: bool
    is_header: bool
    texts: dict[str, str] = field(default_factory=dict)
    parts: dict[str, list[Part]] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)
    languages: dict[str, str] = field(default_factory=dict)
    is_repeated: bool = False

    def add(self, side: str, text: str) -> None:
        """Take the text of a side."""
        self.is_repeated |= side in self.texts
        self.texts[side] = text

    @property
    def source(self) -> str:
        """Return the text of its source."""
        return self.texts.get("source", "")

    @property
    def target(self) -> str:
        """Return the text of its target."""
        return self.texts.get("target", "")


def pair_segments(unit: Unit) -> Paired:
    """Pair source and target, segment by segment where both sides are cut into segments.

    Where a side has text beside its segments, as after two of them were joined, the sides are
    paired whole, unless one of the segments is empty.
    """
    sources, targets = unit.parts.get("seg-source", ()), unit.parts.get("target", ())
    if not sources or not targets:
        return Paired([(unit.source, unit.target)], 0)
    if not unit.outside & {"seg-source", "target"}:
        return _align(sources, targets)
    if len(sources) == len(targets) and all(part.flat.flat for part in (*sources, *targets)):
        return Paired([(unit.source, unit.target)], 0)
    return Paired([], len(sources))


def _align(sources: Sequence[Part], targets: Sequence[Part]) -> Paired:
    """Pair segments by number, or in their order where the numbers cannot tell them apart."""
    mids, others = ([part.mid for part in parts] for parts in (sources, targets))
    if _tell_apart(mids) and _tell_apart(others):
        texts = {part.mid: part.flat.flat for part in targets}
        pairs = [(part.flat.flat, texts.pop(part.mid, "")) for part in sources]
        return Paired(pairs, sum(1 for text in texts.values() if text))
    if len(mids) == len(others) and (mids == others or not any(mids) or not any(others)):
        return Paired(
            [(one.flat.flat, two.flat.flat) for one, two in zip(sources, targets, strict=True)], 0
        )
    return Paired([], len(sources))


def _tell_apart(mids: Sequence[str]) -> bool:
    return all(mids) and len(set(mids)) == len(mids)


def pair_plurals(units: Sequence[Unit], stated: PluralForms | None, language: str) -> Paired:
    """Pair the plural forms of one message, each of which is a unit.

    The sources are the message for one, then the one for more; the targets the forms in their
    order, which ids such as "12[0]" give.

    Args:
        units: In the order of the file.
        stated: What the file says the forms mean.
        language: Of the targets.
    """
    numbered = {_form(unit, place): unit for place, unit in enumerate(units)}
    forms = {number: unit.target for number, unit in numbered.items()}
    filled = {number: text for number, text in forms.items() if text}
    if len(numbered) < len(units) or len(units) < 2 or 0 not in numbered:
        return Paired([], len(units))
    plural = numbered[max(numbered)].source
    if not filled:
        return Paired([(plural, "")], 0)
    meaning = fitting_plural_forms(forms, stated, language)
    if meaning is None:  # languages of one form have two units all the same
        meaning = fitting_plural_forms(filled, stated, language)
    return pair_forms(numbered[0].source, plural, filled, meaning)


def _form(unit: Unit, place: int) -> int:
    found = _FORM.search(unit.name)
    return int(found[1]) if found else place
