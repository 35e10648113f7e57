"""Plain text: every line is a unit, so that there are as many lines afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from hub.documents.decoding import decode
from hub.documents.model import Document, Options, Unit, bounded, has_words, split_blanks
from hub.documents.spans import Span, SpanDocument

_LINE: Final = re.compile(r"[^\r\n]+")
_LINE_END: Final = re.compile(r"[ \t]*[\r\n\u2028\u2029]+[ \t]*")


def read_text(data: bytes, options: Options) -> Document:
    """Read a text file."""
    decoded = decode(data, options.encoding)
    return SpanDocument(decoded, list(bounded(_lines(decoded.text))))


def _lines(text: str) -> Iterator[Span]:
    number, done = 1, 0
    for found in _LINE.finditer(text):
        number += text.count("\n", done, found.start())
        done = found.start()
        before, core, _ = split_blanks(found[0])
        if has_words(core):
            start = found.start() + len(before)
            yield Span(start, start + len(core), Unit(core, place=f"line {number}"), on_one_line)


def on_one_line(text: str) -> str:
    """Return a translation without line ends."""
    return _LINE_END.sub(" ", text)
