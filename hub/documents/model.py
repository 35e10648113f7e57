"""What all formats have in common: units, documents, limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, TypeVar

from hub.errors import DocumentError

PLAIN: Final = "text/plain"
HTML: Final = "text/html"

MAX_BYTES: Final = 64 * 2**20
"""Largest file."""
MAX_UNITS: Final = 500_000
"""Most units of one file."""

_Item = TypeVar("_Item")


class State(Enum):
    """How far the translation of a unit is in the file itself."""

    UNTRANSLATED = "untranslated"
    FUZZY = "fuzzy"
    TRANSLATED = "translated"


@dataclass(frozen=True, slots=True)
class Unit:
    """One stretch of text to translate.

    Attributes:
        text: Without the blanks around it.
        mime_type: "text/plain" or "text/html"; tags inside a unit of HTML may be stand-ins for
            what the format has there, and must come back as they are.
        place: Where it is, for messages: "line 12", "unit greeting".
    """

    text: str
    mime_type: str = PLAIN
    place: str = ""
    state: State = State.UNTRANSLATED


@dataclass(frozen=True, slots=True)
class Rendered:
    """A file with its translations.

    Attributes:
        left: Units whose translations could not be put in, because their markup was damaged;
            they stay as they were.
    """

    data: bytes
    left: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is read and written.

    Attributes:
        source: Language of its texts, "" where it is not known.
        target: Language of its translations; written where the format has a place for it.
        encoding: Of a text file that has no byte order mark and says nothing itself.
        unit_characters: Longest unit of formats that can be cut anywhere between blocks (HTML).
    """

    source: str = ""
    target: str = ""
    encoding: str = "utf-8"
    unit_characters: int = 20_000


class Document(Protocol):
    """A file that was read."""

    @property
    def language(self) -> str:
        """Return the language that the file says its translations are in, "" for none."""

    @property
    def units(self) -> Sequence[Unit]:
        """Return what is to be translated, in the order of the file; possibly nothing."""

    def render(self, translations: Sequence[str | None]) -> Rendered:
        """Return the file with its units replaced; None leaves a unit as it was.

        Call it once: it may change what was read.
        """


def bounded(units: Iterable[_Item], what: str = "texts") -> Iterator[_Item]:
    """Yield the units of a file, or `what` they are, counted before all of them are made.

    Raises:
        DocumentError: There are more than `MAX_UNITS`.
    """
    for number, unit in enumerate(units):
        if number == MAX_UNITS:
            raise DocumentError(f"more than {MAX_UNITS:,} {what}, the most of a file; split it")
        yield unit


def has_words(text: str) -> bool:
    """Tell whether there is anything to translate: numbers and signs alone are not."""
    return any(character.isalpha() for character in text)


def split_blanks(text: str) -> tuple[str, str, str]:
    """Return the blanks before a text, the text, and the blanks behind it."""
    core = text.strip()
    if not core:
        return text, "", ""
    start = text.index(core)
    return text[:start], core, text[start + len(core) :]
