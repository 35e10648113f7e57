"""What every format's reader yields, and what they share."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.lines import LINE_LIMIT
from training.corpora.sources import DataSource

UNTRANSLATED: Final = "untranslated"
OTHER_LANGUAGES: Final = "without both languages"
NO_COUNTERPART: Final = "plural form without counterpart"
"""Reasons for which formats leave entries out."""

_BREAKS: Final = re.compile(r"[\t-\r\x85\u2028\u2029]+")
"""Line ends of any kind and tabs."""

_BOM: Final = "\ufeff"


class Segment(NamedTuple):
    """One aligned segment as a file has it.

    Attributes:
        line: Where it stands in the file, from 1; the row's number where there are no lines.
    """

    line: int
    source: str
    target: str


class Paired(NamedTuple):
    """What a format pairs within one entry, and how many texts in it found no counterpart."""

    pairs: Sequence[tuple[str, str]]
    left: int


class Skipped(Counter[str]):
    """Entries that a format itself says are no translation, by reason.

    Attributes:
        notes: What else the user should hear of the source, a sentence each.
    """

    def __init__(self) -> None:
        """Begin with nothing skipped."""
        super().__init__()
        self.notes: list[str] = []


Reader = Callable[[DataSource, LanguagePair, Skipped], Iterator[Segment]]


def one_line(text: str) -> str:
    """Return a text as a segment has it: in NFC and on one line.

    Line ends and tabs, with the blanks around them, become single spaces; byte order marks inside
    the text are removed.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.replace(_BOM, ""))
    pieces = (piece.strip(" ") for piece in _BREAKS.split(text))
    return " ".join(piece for piece in pieces if piece)


def refuse_long(place: str, text: str) -> None:
    """Refuse a side of a segment that no line of a text file could be.

    Raises:
        CorpusError: The text has more characters than a line may have bytes.
    """
    if len(text) > LINE_LIMIT:
        raise CorpusError(
            f"{place}: the segment has more than {LINE_LIMIT:,} characters, the limit; "
            "a segment is a sentence or a few",
            field="data",
        )
