"""Subtitles: SubRip (.srt) and WebVTT (.vtt). Times, numbers, settings and notes stay as they are.

The lines of a cue are one sentence as often as not, so they are translated together and broken
again into as many lines of about equal length; dialogue lines, which begin with a dash, stay apart.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Final

from hub.documents.decoding import decode
from hub.documents.inline import Code, Piece, Role, make_inline
from hub.documents.model import Document, Options, bounded
from hub.documents.plain_text import on_one_line
from hub.documents.spans import Span, SpanDocument, write_inline
from hub.documents.tags import pieces_of
from hub.errors import DocumentError

_TIMING: Final = re.compile(
    r"[ \t]*(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}[ \t]*-->[ \t]*"
    r"(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}[^\r\n]*"
)
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|$)")
_POSITION: Final = re.compile(r"\{\\[^{}\r\n]{1,80}\}")
_TAG: Final = re.compile(r"<[^<>]*>")
_DASH: Final = re.compile(r"[ \t]*[-–—]")

Line = tuple[int, str]


def read_srt(data: bytes, options: Options) -> Document:
    """Read SubRip.

    Raises:
        DocumentError: There are no cues.
    """
    return _read(data, options, lambda text: text, lambda text: text)


def read_vtt(data: bytes, options: Options) -> Document:
    """Read WebVTT, whose text has references as HTML has.

    Raises:
        DocumentError: It does not begin with WEBVTT, or has no cues.
    """
    if not decode(data, options.encoding).text.startswith("WEBVTT"):
        raise DocumentError("a WebVTT file begins with the word WEBVTT; this one does not")
    return _read(data, options, html.unescape, lambda text: html.escape(text, quote=False))


def _read(
    data: bytes, options: Options, unescape: Callable[[str], str], escape: Callable[[str], str]
) -> Document:
    decoded = decode(data, options.encoding)
    spans: list[Span] = []
    cues = 0
    for number, cue in _cues(decoded.text):
        cues += 1
        for lines in _speakers(cue):
            span = _span(lines, number, decoded.line_end, unescape, escape)
            if span is not None:
                spans.append(span)
    if not cues and decoded.text.strip():
        raise DocumentError("no line has the times of a cue, such as 00:00:01,000 --> 00:00:02,000")
    return SpanDocument(decoded, spans)


def _cues(text: str) -> Iterator[tuple[int, list[Line]]]:
    """Yield the line number of each cue's times, and the lines of its text with their places."""
    cue: list[Line] | None = None
    at = 0
    for number, found in enumerate(bounded(_LINE.finditer(text), "lines"), 1):
        line = found[0].rstrip("\r\n")
        if cue is not None and line.strip():
            cue.append((found.start(), line))
            continue
        if cue is not None:
            yield at, cue
            cue = None
        if _TIMING.fullmatch(line):
            cue, at = [], number
    if cue:
        yield at, cue


def _speakers(cue: list[Line]) -> Iterator[list[Line]]:
    """Yield the lines of a cue that belong together."""
    if sum(1 for _, line in cue if _DASH.match(line)) < 2:
        yield cue
        return
    lines: list[Line] = []
    for line in cue:
        if lines and _DASH.match(line[1]):
            yield lines
            lines = []
        lines.append(line)
    yield lines


def _span(
    lines: list[Line],
    number: int,
    line_end: str,
    unescape: Callable[[str], str],
    escape: Callable[[str], str],
) -> Span | None:
    if not lines:
        return None
    joined = " ".join(line.strip() for _, line in lines)
    inline = make_inline(list(_pieces(joined, unescape)), f"line {number}")
    if inline.unit is None:
        return None
    plain = write_inline(inline, escape)

    def write(translation: str) -> str | None:
        written = plain(on_one_line(translation))
        return None if written is None else line_end.join(broken(written, len(lines)))

    start, end = lines[0][0], lines[-1][0] + len(lines[-1][1])
    return Span(start, end, inline.unit, write)


def _pieces(text: str, unescape: Callable[[str], str]) -> Iterator[Piece]:
    dash = _DASH.match(text)
    if dash:
        yield Code(dash[0] + " " * (text[dash.end() : dash.end() + 1] == " "), Role.POINT)
        text = text[dash.end() :].removeprefix(" ")
    done = 0
    for found in _POSITION.finditer(text):
        yield from _plain(text[done : found.start()], unescape)
        yield Code(found[0], Role.POINT)
        done = found.end()
    yield from _plain(text[done:], unescape)


def _plain(text: str, unescape: Callable[[str], str]) -> Iterator[Piece]:
    for piece in pieces_of(text):
        yield unescape(piece) if isinstance(piece, str) else piece


def broken(text: str, count: int) -> list[str]:
    """Return a text on at most `count` lines of about equal length, broken at blanks."""
    lines: list[str] = []
    places = _TAG.sub(lambda tag: "x" * len(tag[0]), text)
    while count > 1 and " " in places:
        wanted = len(text) // count
        before, behind = places.rfind(" ", 0, wanted + 1), places.find(" ", wanted)
        near = [place for place in (before, behind) if place >= 0]
        place = min(near, key=lambda place: abs(place - wanted))
        lines.append(text[:place])
        text, places = text[place + 1 :], places[place + 1 :]
        count -= 1
    return [*lines, text]
