"""Text of HTML as people read it, and written as HTML again."""

from __future__ import annotations

import html as entities
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

_REFERENCE: Final = re.compile(
    r"&(?:#[0-9]{1,7}(?![0-9])|#[xX][0-9a-fA-F]{1,6}(?![0-9a-fA-F])|[A-Za-z][A-Za-z0-9]{1,31});?"
)
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\u00a0": "&nbsp;"})
_QUOTES: Final = {'"': "&quot;", "'": "&#39;"}


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text with its character references replaced.

    Attributes:
        ends: Where in `text` each reference's characters end.
        raws: Where the reference itself ends in the source.
        starts: Where its characters begin, and it begins.
    """

    text: str
    start: int
    starts: tuple[tuple[int, int], ...] = ()
    ends: tuple[int, ...] = ()
    raws: tuple[int, ...] = ()

    def raw(self, place: int) -> int:
        """Return the place in the source of a place in the text; inside a reference its start."""
        index = bisect_right(self.ends, place) - 1
        base, raw = (self.ends[index], self.raws[index]) if index >= 0 else (0, self.start)
        if index + 1 < len(self.starts) and place > self.starts[index + 1][0]:
            return self.starts[index + 1][1]
        return raw + place - base


def decode(html: str, start: int, end: int) -> Decoded:
    """Return the text of `html[start:end]`."""
    raw = html[start:end]
    if "&" not in raw:
        return Decoded(raw, start)
    pieces: list[str] = []
    starts: list[tuple[int, int]] = []
    ends: list[int] = []
    raws: list[int] = []
    done = length = 0
    for found in _REFERENCE.finditer(raw):
        text = entities.unescape(found[0])
        pieces += [raw[done : found.start()], text]
        length += found.start() - done
        starts.append((length, start + found.start()))
        length += len(text)
        done = found.end()
        ends.append(length)
        raws.append(start + done)
    text = "".join((*pieces, raw[done:]))
    return Decoded(text, start, tuple(starts), tuple(ends), tuple(raws))


def escape(text: str, quote: str = "") -> str:
    """Return a text as HTML; inside of an attribute its quote is replaced too."""
    found = text.translate(_ESCAPES)
    return found.replace(quote, _QUOTES[quote]) if quote else found
