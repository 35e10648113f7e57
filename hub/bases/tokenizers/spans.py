"""Where tokens stand in their text: characters of a source, characters of an output.

A text goes through two changes before it is cut (`hub.text.normal`, and the normalizer of the
vocabulary), so a token's characters are not those of its piece. Spans are of the text as it was
given.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import regex  # type: ignore[import-untyped]

from hub.text import normal, visible

Span = tuple[int, int]
"""Start and end, in characters."""

_BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")
_CLUSTER: Final = regex.compile(r"\X")


def normal_spans(text: str) -> tuple[str, list[Span]]:
    """Return `normal(text)` and, for each of its characters, those of `text` that it comes from."""
    seen = visible(text)
    composed, spans = _composed("".join(one for _, one in seen), [place for place, _ in seen])
    kept: list[str] = []
    found: list[Span] = []
    gap: Span | None = None
    for one, (start, end) in zip(composed, spans, strict=True):
        if one.isspace():
            gap = (gap[0] if gap else start, end)
            continue
        if gap and kept:
            kept.append(" ")
            found.append(gap)
        gap = None
        kept.append(one)
        found.append((start, end))
    result = "".join(kept)
    assert result == normal(text)
    return result, found


def _composed(text: str, places: Sequence[int]) -> tuple[str, list[Span]]:
    """Compose letters; `places` says where each character stood before.

    Canonical composition does not reach over the bounds of a character as people see it. Where the
    tables of two libraries differ in that, the text is taken as a whole.
    """
    if text.isascii():
        return text, [(place, place + 1) for place in places]
    found = _composed_clusters(text, places)
    whole = unicodedata.normalize("NFC", text)
    if found[0] == whole:
        return found
    return whole, [(places[0], places[-1] + 1)] * len(whole)


def _composed_clusters(text: str, places: Sequence[int]) -> tuple[str, list[Span]]:
    parts: list[str] = []
    spans: list[Span] = []
    for cluster in _CLUSTER.finditer(text):
        start, end = cluster.span()
        part = unicodedata.normalize("NFC", cluster[0])
        parts.append(part)
        if part == cluster[0]:
            spans += [(place, place + 1) for place in places[start:end]]
        else:
            spans += [(places[start], places[end - 1] + 1)] * len(part)
    return "".join(parts), spans


def surface_spans(text: str, surfaces: Iterable[str]) -> list[Span]:
    """Return where the pieces of a text stand, from the part of it that each covers.

    Of the bytes of one character SentencePiece gives the character to the last one; here all have
    it.
    """
    spans: list[Span] = []
    place, waiting = 0, 0
    for surface in surfaces:
        if not surface:
            waiting += 1
            continue
        start = text.find(surface, place)
        assert start >= 0
        place = start + len(surface)
        spans += [(start, place)] * (waiting + 1)
        waiting = 0
    return spans + [(place, place)] * waiting


def piece_spans(model: Any, text: str) -> list[tuple[str, Span]]:
    """Return the pieces that a SentencePiece model cuts a text into, with their spans."""
    pieces = model.encode(text, return_type="proto").pieces
    spans = surface_spans(text, [one.surface for one in pieces])
    return [(str(one.piece), span) for one, span in zip(pieces, spans, strict=True)]


def source_spans(
    text: str, words: str, before: int, after: int, cut: Callable[[str], list[Span]]
) -> list[Span | None]:
    """Return the characters of each source token; None for tokens that are not of the text.

    Args:
        text: As it was given.
        words: What the family puts in front of the normal form.
        before: Tokens in front of all that.
        after: Tokens behind it.
        cut: Returns the spans of the tokens of `words` and the normal form.
    """
    form, places = normal_spans(text)
    given = words + form
    found: list[Span | None] = [None] * before
    for start, end in cut(given):
        while start < end and given[start].isspace():
            start += 1
        own = places[max(0, start - len(words)) : max(0, end - len(words))]
        found.append((own[0][0], own[-1][1]) if own else None)
    return found + [None] * after


def target_spans(
    ids: Sequence[int],
    piece_of: Callable[[int], str],
    decode: Callable[[Sequence[int]], str],
) -> list[Span]:
    """Return the characters of each token in `decode(ids)`; those of no text are empty.

    Args:
        ids: Output tokens.
        piece_of: The piece of a token, "" for one that is left out of texts.
        decode: The text of tokens.
    """
    text = decode(ids)
    joined, spans = _joined([piece_of(index) for index in ids])
    ahead = len(joined) - len(joined.lstrip())
    if joined.strip() == text:
        return [_moved(span, ahead, len(text)) for span in spans]
    return _grown(ids, text, decode)


def _moved(span: Span, ahead: int, length: int) -> Span:
    start, end = (min(max(0, place - ahead), length) for place in span)
    return start, end


def _joined(pieces: Sequence[str]) -> tuple[str, list[Span]]:
    """Join pieces as SentencePiece does; all bytes of a character have the whole character."""
    parts: list[str] = []
    spans: list[Span] = []
    length, waiting = 0, 0
    bytes_so_far = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for place, piece in enumerate(pieces):
        byte = _BYTE.fullmatch(piece)
        if byte is not None:
            ends = place + 1 == len(pieces) or _BYTE.fullmatch(pieces[place + 1]) is None
            part = bytes_so_far.decode(bytes([int(byte[1], 16)]), final=ends)
        else:
            part = piece.replace("▁", " ")
        if byte is not None and not part:
            waiting += 1
            continue
        spans += [(length, length + len(part))] * (waiting + 1)
        parts.append(part)
        length += len(part)
        waiting = 0
    return "".join(parts), spans


def _grown(ids: Sequence[int], text: str, decode: Callable[[Sequence[int]], str]) -> list[Span]:
    """Return spans from the texts of ever more tokens: for decoders that do more than join."""
    ends = []
    for count in range(1, len(ids) + 1):
        part = decode(ids[:count])
        ends.append(_common(part, text))
    for index in range(len(ends) - 2, -1, -1):
        ends[index] = min(ends[index], ends[index + 1])
    starts = [0, *ends[:-1]]
    return list(zip(starts, ends, strict=True))


def _common(part: str, text: str) -> int:
    """Return the length of what two texts begin with."""
    for place, (one, other) in enumerate(zip(part, text, strict=False)):
        if one != other:
            return place
    return min(len(part), len(text))
