"""The text of an XML element without its inline tags, words on both sides of a tag kept apart."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Final

from hub.scripts import writes_no_spaces
from training.corpora.lines import LINE_LIMIT
from training.corpora.segments import one_line, refuse_long

# Inline elements whose content is code of the original format, not text: those that stand alone,
# for a break, an image or a value; and those that open or close formatting inside a word or around.
_STANDING: Final = frozenset(("ph", "x", "it", "ut", "cp"))
_PAIRED: Final = frozenset(("bpt", "ept", "bx", "ex", "sc", "ec", "sm", "em", "sub"))
_OPENING: Final = frozenset("'’-‐‑/@#_\\")


class FlatText:
    """Collects an element's text without its inline tags.

    Elements around translatable text (`hi`, `g`, `pc`, `mrk`) vanish and their text stays. Elements
    that hold code of the original format (`ph`, `bpt`, `ept`, `it`, `ut`, with `sub` in them) and
    empty ones vanish with all that is in them. Where one that stands alone, or the border of two
    segments, would bring words together, a blank takes its place.
    """

    def __init__(self, place: str) -> None:
        """Begin; `place` is for messages."""
        self._place = place
        self._parts: list[str] = []
        self._size = 0
        self._open: list[bool] = []  # of each open inline element: whether it is code
        self._code = 0
        self._gap = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Hear of an inline element's begin."""
        is_code = name in _STANDING or name in _PAIRED
        self._open.append(is_code)
        self._code += is_code
        self._gap |= name in _STANDING or (name == "mrk" and attributes.get("mtype") == "seg")

    def end(self) -> None:
        """Hear of an inline element's end."""
        if self._open:
            self._code -= self._open.pop()

    def text(self, data: str) -> None:
        """Hear of text.

        Raises:
            CorpusError: It is longer than a segment may be.
        """
        if self._code or not data:
            return
        if self._gap and self._parts and _meet(self._parts[-1][-1], data[0]):
            self._parts.append(" ")
        self._gap = False
        self._parts.append(data)
        self._size += len(data)
        if self._size > LINE_LIMIT:
            refuse_long(self._place, "".join(self._parts))

    @property
    def flat(self) -> str:
        """Return the text in one line."""
        return one_line("".join(self._parts))


def _meet(before: str, after: str) -> bool:
    """Return whether two characters would read as one word or sentence run together."""
    if before.isspace() or after.isspace() or not after.isalnum():
        return False
    if before in _OPENING or unicodedata.category(before) in ("Ps", "Pi"):
        return False
    return not (writes_no_spaces(before) or writes_no_spaces(after))
