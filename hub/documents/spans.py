"""Documents that are a text with stretches to replace; all the rest stays to the byte."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hub.documents.decoding import Decoded
from hub.documents.inline import Inline, Piece
from hub.documents.model import Rendered, Unit

Write = Callable[[str], str | None]


def as_it_is(translation: str) -> str:
    """Write a translation without any escape."""
    return translation


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch `text[start:end]` that a translation replaces.

    Attributes:
        write: Returns what is written for a translation, None where it cannot be.
    """

    start: int
    end: int
    unit: Unit
    write: Write = as_it_is


@dataclass(frozen=True, slots=True)
class SpanDocument:
    """A text with spans, in order and apart from each other.

    Attributes:
        errors: How characters that the encoding lacks are written, as in `str.encode`.
        edits: Further replacements `(start, end, text)`, which depend on no translation.
    """

    decoded: Decoded
    spans: Sequence[Span]
    errors: str = "strict"
    edits: Sequence[tuple[int, int, str]] = ()

    @property
    def units(self) -> Sequence[Unit]:
        """Return the units of the spans."""
        return [span.unit for span in self.spans]

    def render(self, translations: Sequence[str | None]) -> Rendered:
        """Return the text with its spans replaced."""
        edits, left = list(self.edits), []
        for index, (span, wanted) in enumerate(zip(self.spans, translations, strict=True)):
            written = None if wanted is None else span.write(wanted)
            if written is not None:
                edits.append((span.start, span.end, written))
            elif wanted is not None:
                left.append(index)
        text = _replaced(self.decoded.text, edits)
        return Rendered(self.decoded.encode(text, self.errors), tuple(left))


def _replaced(text: str, edits: list[tuple[int, int, str]]) -> str:
    pieces: list[str] = []
    done = 0
    for start, end, written in sorted(edits):
        pieces += (text[done:start], written)
        done = end
    return "".join((*pieces, text[done:]))


def write_inline(inline: Inline, escape: Callable[[str], str]) -> Write:
    """Return what writes translations of running text whose codes are strings.

    Args:
        inline: Its codes' `raw` is what is written for them.
        escape: Of the text between codes.
    """

    def write(translation: str) -> str | None:
        pieces = inline.read(translation)
        return None if pieces is None else "".join(_raw(piece, escape) for piece in pieces)

    return write


def _raw(piece: Piece, escape: Callable[[str], str]) -> str:
    return escape(piece) if isinstance(piece, str) else str(piece.raw)
