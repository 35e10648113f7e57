"""What every format's reader yields, and what they share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.lines import LINE_LIMIT
from training.corpora.sources import DataSource

_BREAKS: Final = re.compile(r"[ \t\r\n]*[\t\r\n][ \t\r\n]*")


class Segment(NamedTuple):
    """One aligned segment as a file has it.

    Attributes:
        line: Where it stands in the file, from 1; the row's number where there are no lines.
    """

    line: int
    source: str
    target: str


Skipped = Counter[str]
"""Entries that a format itself says are no translation, by reason."""

Reader = Callable[[DataSource, LanguagePair, Skipped], Iterator[Segment]]


def one_line(text: str) -> str:
    """Return a text with its line ends and tabs, and the blanks around them, as single spaces."""
    if "\n" in text or "\t" in text or "\r" in text:
        text = _BREAKS.sub(" ", text)
    return text.strip(" ")


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
