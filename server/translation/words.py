"""Words of a text, where it has blanks between them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

import regex  # type: ignore[import-untyped]

UNBROKEN: Final = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Scripts that write no blanks between words, for a set of the regex package."""

WORD: Final = rf"[\p{{L}}\p{{N}}\p{{M}}_--[{UNBROKEN}]]+"
"""A word of any other script; needs regex.V1."""

_WORD: Final = regex.compile(WORD, regex.V1)


class Words:
    """Where the words of a text begin and end; scripts without blanks have none."""

    def __init__(self, text: str) -> None:
        """Find them."""
        spans = [found.span() for found in _WORD.finditer(text)]
        self._starts = [start for start, _ in spans]
        self._ends = [end for _, end in spans]

    def start(self, place: int) -> int:
        """Return a place, or the beginning of the word that it is inside of."""
        index = bisect_right(self._starts, place) - 1
        inside = index >= 0 and place < self._ends[index]
        return self._starts[index] if inside else place

    def end(self, place: int) -> int:
        """Return a place, or the end of the word that it is inside of."""
        index = bisect_left(self._starts, place) - 1
        return max(place, self._ends[index]) if index >= 0 else place

    def touch(self, place: int) -> bool:
        """Tell whether the character at a place is of a word."""
        index = bisect_right(self._starts, place) - 1
        return index >= 0 and place < self._ends[index]
