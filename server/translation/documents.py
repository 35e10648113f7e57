"""What of a text is translated, and how it is put together again.

text ──plain_units / html_units──▶ document ──units──▶ sentences, jobs, candidates
                                       ▲                          │ align, join_segments
text, warnings ◀──────render───────────┴───── translations ◀──────┘
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hub.text import is_blank
from server.messages import Flag, FlagDetail
from server.translation.offsets import UnitTranslation
from server.translation.placeholders import Finder, Masked, finder_of, mask
from server.translation.restoring import restore


@dataclass(frozen=True, slots=True)
class Unit:
    """A stretch of running text.

    Attributes:
        text: What is split into sentences and translated; placeholders are numbers in it.
        needs_alignment: Whether its translation must carry links, so that everything can be put
            in place; without them it goes to the unit's end, with a warning.
    """

    text: str
    needs_alignment: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """A translated document, and what was lost or moved on the way."""

    text: str
    details: tuple[FlagDetail, ...] = ()


class Document(Protocol):
    """A text in some format."""

    @property
    def units(self) -> Sequence[Unit]:
        """Return what is to be translated, in the order of the text; possibly nothing."""

    def render(self, translations: Sequence[UnitTranslation | None]) -> Rendered:
        """Return the text with its units replaced; None leaves a unit as it was."""


@dataclass(frozen=True, slots=True)
class PlainDocument:
    """Plain text: one unit, none where there is nothing to translate."""

    text: str
    masked: Masked
    finder: Finder

    @property
    def units(self) -> Sequence[Unit]:
        """Return the text with its placeholders masked."""
        if is_blank(self.masked.outside):
            return ()
        return (Unit(self.masked.text, bool(self.masked.masks)),)

    def restored(self, start: int, end: int, translation: UnitTranslation) -> Rendered:
        """Return the translation of one sentence with its placeholders.

        Args:
            start: Where the sentence begins in the unit's text.
            end: Where it ends.
            translation: Its links are relative to the sentence.
        """
        found = restore(self.masked.part(start, end), translation, self.finder)
        return Rendered(found.translation.text, details_of(found.repaired, ()))

    def render(self, translations: Sequence[UnitTranslation | None]) -> Rendered:
        """Return the translation with the placeholders of the text."""
        (translation,) = translations or (None,)
        if translation is None or translation.text == self.masked.text:
            return Rendered(self.text)
        found = restore(self.masked, translation, self.finder)
        return Rendered(found.translation.text, details_of(found.repaired, ()))


def plain_units(text: str, keep: Sequence[str] = ()) -> PlainDocument:
    """Return a plain text as a document.

    Args:
        text: Any.
        keep: Spans that stay as they are.
    """
    finder = finder_of(tuple(keep))
    return PlainDocument(text, mask(text, finder.find(text)), finder)


def details_of(placeholders: Iterable[str], tags: Iterable[str]) -> tuple[FlagDetail, ...]:
    """Return warnings about what was lost, repeated or moved; none about nothing."""
    found = (
        FlagDetail(Flag.PLACEHOLDER_MISMATCH, tuple(dict.fromkeys(placeholders))),
        FlagDetail(Flag.TAG_MISMATCH, tuple(dict.fromkeys(tags))),
    )
    return tuple(one for one in found if one.subjects)
