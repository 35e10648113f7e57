"""Strings of programs and subtitles that hold tags: <b>, <i>, <a href="…">, <0>."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from hub.documents.inline import Code, Inline, Piece, Role, make_inline
from hub.documents.model import State

# Of bounded length, so that a thousand "<a" without an end cost no time.
_TAG: Final = re.compile(
    r"<(/?)([A-Za-z][\w.:-]{0,40}|\d{1,4})(?:[^<>\"']|\"[^\"<>]*\"|'[^'<>]*'){0,200}?(/?)>"
)


def tagged(text: str, place: str, state: State = State.UNTRANSLATED) -> Inline:
    """Return a string as a unit whose tags are codes; what is no tag is text."""
    return make_inline(list(pieces_of(text)), place, state)


def pieces_of(text: str) -> Iterator[Piece]:
    """Yield text and tags."""
    done = 0
    for found in _TAG.finditer(text):
        yield text[done : found.start()]
        yield _code(found)
        done = found.end()
    yield text[done:]


def _code(found: re.Match[str]) -> Code:
    if found[1]:
        return Code(found[0], Role.CLOSE, found[2])
    if found[3]:
        return Code(found[0], Role.POINT)
    return Code(found[0], Role.OPEN, found[2])
