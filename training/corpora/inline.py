"""The text of an XML element without its inline tags, words on both sides of a tag kept apart."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hub.scripts import writes_no_spaces
from training.corpora.lines import LINE_LIMIT
from training.corpora.segments import one_line, refuse_long

# Inline elements whose content is code of the original format, not text: those that stand alone,
# for a break, an image or a value; and those that open or close formatting inside a word or around.
_STANDING: Final = frozenset(("ph", "x", "it", "ut", "cp"))
_PAIRED: Final = frozenset(("bpt", "ept", "bx", "ex", "sc", "ec", "sm", "em", "sub"))
_AROUND: Final = frozenset(("hi", "g", "pc", "mrk"))
_OPENING: Final = frozenset("'’-‐‑/@#_\\")

_BLOCKS: Final = (
    "address|article|aside|blockquote|br|caption|dd|div|dl|dt|fieldset|figcaption|figure|footer|"
    "form|h[1-6]|header|hr|li|main|nav|ol|option|p|para|pre|section|table|tbody|td|tfoot|th|thead|"
    "title|tr|ul"
)
"""Elements of HTML (and DocBook's paragraph) that text does not run across."""

_BLOCK: Final = re.compile(rf"(?:{_BLOCKS})", re.IGNORECASE)
_BLOCK_TAG: Final = re.compile(
    rf"<\s{{0,4}}/?\s{{0,4}}(?:\w{{1,40}}:)?(?:{_BLOCKS})(?![\w-])", re.IGNORECASE
)
_BREAK_TYPE: Final = re.compile(
    rf"(?:xlf:)?[lp]b|(?:line|page)-?break|paragraph|x-(?:html-)?(?:{_BLOCKS})", re.IGNORECASE
)
_TYPES: Final = ("ctype", "type", "subType")
_SHOWN_CODE: Final = ("equiv-text", "equiv", "equivStart", "equivEnd", "disp", "dispStart",
                      "dispEnd")  # fmt: skip
_PAIR_KEYS: Final = ("i", "rid", "startRef", "id")
_CODE_KEPT: Final = 1000


@dataclass
class _Open:
    """An inline element that is open: whether it is code, breaks the text, and is empty so far."""

    name: str
    is_code: bool
    breaks: bool
    key: str
    code: str = ""
    is_empty: bool = True


class FlatText:
    """Collects an element's text without its inline tags.

    Elements around translatable text (`hi`, `g`, `pc`, `mrk`, and any that is not known) vanish and
    their text stays. Elements that hold code of the original format (`ph`, `bpt`, `ept`, `it`,
    `ut`, with `sub` in them) and empty ones vanish with all that is in them. A blank takes the
    place of what would bring words together: an element that stands alone, is empty and not known,
    or is a line break or a block by its name, its type or the code in it; a processing instruction;
    the border of two segments.
    """

    def __init__(self, place: str) -> None:
        """Begin; `place` is for messages."""
        self._place = place
        self._parts: list[str] = []
        self._size = 0
        self._open: list[_Open] = []
        self._code = 0
        self._gap = False
        self._block_pairs: set[str] = set()

    @property
    def in_code(self) -> bool:
        """Return whether what comes next is code of the original format."""
        return self._code > 0

    @property
    def has_open(self) -> bool:
        """Return whether an inline element is open, so that the next end is its own."""
        return bool(self._open)

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Hear of an inline element's begin."""
        for parent in self._open:
            parent.is_empty = False
        is_code = name in _STANDING or name in _PAIRED
        key = next((attributes[key] for key in _PAIR_KEYS if key in attributes), "")
        begun = _Open(name, is_code, _breaks(name, attributes), key)
        self._open.append(begun)
        self._code += is_code
        self._gap |= begun.breaks

    def end(self) -> None:
        """Hear of an inline element's end."""
        if not self._open:
            return
        ended = self._open.pop()
        self._code -= ended.is_code
        ends_block = self._ends_block(ended)
        is_known = ended.is_code or ended.name in _AROUND
        self._gap |= ended.breaks or ends_block or (ended.is_empty and not is_known)

    def text(self, data: str) -> None:
        """Hear of text.

        Raises:
            CorpusError: It is longer than a segment may be.
        """
        if not data:
            return
        for parent in self._open:
            parent.is_empty = False
        if self._code:
            self._open[-1].code += data[: _CODE_KEPT - len(self._open[-1].code)]
            return
        if self._gap and self._parts and _meet(self._parts[-1][-1], data[0]):
            self._parts.append(" ")
        self._gap = False
        self._parts.append(data)
        self._size += len(data)
        if self._size > LINE_LIMIT:
            refuse_long(self._place, "".join(self._parts))

    def _ends_block(self, ended: _Open) -> bool:
        """Return whether code is the tag of a block, or the end of such a one."""
        if ended.name not in _PAIRED:
            return False
        if ended.breaks or _BLOCK_TAG.search(ended.code):
            self._block_pairs.add(ended.key)
            return True
        return bool(ended.key) and ended.key in self._block_pairs

    @property
    def flat(self) -> str:
        """Return the text in one line."""
        return one_line("".join(self._parts))


def _breaks(name: str, attributes: Mapping[str, str]) -> bool:
    """Return whether the text does not run on across an element's begin and end."""
    if name in _STANDING or (name == "mrk" and attributes.get("mtype") == "seg"):
        return True
    if name not in _PAIRED and name not in _AROUND:
        return _BLOCK.fullmatch(name.rpartition(" ")[2]) is not None
    return any(_BREAK_TYPE.fullmatch(attributes.get(key, "")) for key in _TYPES) or any(
        _BLOCK_TAG.search(attributes.get(key, "")[:_CODE_KEPT]) for key in _SHOWN_CODE
    )


def _meet(before: str, after: str) -> bool:
    """Return whether two characters would read as one word or sentence run together."""
    if before.isspace() or after.isspace() or not after.isalnum():
        return False
    if before in _OPENING or unicodedata.category(before) in ("Ps", "Pi"):
        return False
    return not (writes_no_spaces(before) or writes_no_spaces(after))
