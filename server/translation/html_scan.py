"""HTML cut into tags, text and the rest, so that the pieces joined are the input to the byte.

This is the tokenizer of the HTML standard (https://html.spec.whatwg.org/#tokenization) with what a
translator needs of it. The parsers that were looked at do not give back what they read: html.parser
of the standard library raises on some declarations, needs quadratic time for others and differs
between patch releases; lxml, selectolax and justhtml build trees, with elements moved and without
places in the source.

Every pattern begins where the one before ended and never gives back, so time is linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """What a token is."""

    TEXT = "text"
    START = "start"
    END = "end"
    OTHER = "other"
    """A comment, a declaration, an instruction, CDATA, or what no browser shows."""
    RAW = "raw"
    """The content of an element whose tags and references mean nothing (script)."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the input.

    Attributes:
        name: Of a tag, in lower case.
        closed: Whether a start tag ends with a slash.
    """

    kind: Kind
    start: int
    end: int
    name: str = ""
    closed: bool = False


RAW_TEXT: Final = frozenset(
    {"script", "style", "textarea", "xmp", "iframe", "noembed", "noframes", "title"}
)
"""Elements without tags inside; the text of `title` alone is for people, and has references."""

_VALUE: Final = r"(?:\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z)|[^\s>\"'][^\s>]*+)"
_ATTRIBUTE: Final = rf"=?[^\s/>=]*+(?:\s*+=\s*+{_VALUE}?+)?+"
_TAG: Final = re.compile(
    rf"<(?P<slash>/?)(?P<name>[a-zA-Z][^\s/>]*+)(?:[\s/]++|(?=[^\s/>]){_ATTRIBUTE})*+(?:>|\Z)"
)
_ATTRIBUTES: Final = re.compile(
    rf"(?:[\s/]++)|(?P<name>=?[^\s/>=]++)(?:\s*+=\s*+(?P<value>{_VALUE}?+))?+"
)
_COMMENT: Final = re.compile(r"<!--(?:-?>|[\s\S]*?(?:--!?>|\Z))")
_BOGUS: Final = re.compile(r"<(?:[!?]|/[^a-zA-Z])[^>]*+(?:>|\Z)")
_CDATA: Final = "<![CDATA["


def scan(html: str) -> Iterator[Token]:
    """Yield the tokens of a text; joined, they are the text."""
    place, text = 0, 0
    cdata_ends = True  # whether there may be an end of CDATA further on
    endless: set[str] = set()  # elements whose end tag does not come any more
    while (found := html.find("<", place)) >= 0:
        token, cdata_ends = _token(html, found, cdata_ends)
        if token is None:
            place = found + 1
            continue
        if text < found:
            yield Token(Kind.TEXT, text, found)
        yield token
        place = text = token.end
        if token.kind is Kind.START and token.name in RAW_TEXT:
            place = text = _raw_end(html, token, endless)
            if token.end < place:
                yield Token(Kind.RAW, token.end, place, token.name)
        elif token.kind is Kind.START and token.name == "plaintext":
            place = text = len(html)
            yield Token(Kind.RAW, token.end, place, token.name)
    if text < len(html):
        yield Token(Kind.TEXT, text, len(html))


def _token(html: str, start: int, cdata_ends: bool) -> tuple[Token | None, bool]:
    """Return the token that a "<" begins, None where it is text."""
    found = _TAG.match(html, start)
    if found is not None:
        kind = Kind.END if found["slash"] else Kind.START
        closed = _is_closed(found[0])
        return Token(kind, start, found.end(), found["name"].lower(), closed), cdata_ends
    if cdata_ends and html.startswith(_CDATA, start):
        end = html.find("]]>", start)
        if end >= 0:
            return Token(Kind.OTHER, start, end + 3), True
        cdata_ends = False
    found = _COMMENT.match(html, start) or _BOGUS.match(html, start)
    if found is None:
        return None, cdata_ends
    return Token(Kind.OTHER, start, found.end()), cdata_ends


def _is_closed(tag: str) -> bool:
    """Tell whether a start tag ends with a slash that is not of an unquoted value."""
    if not tag.endswith("/>"):
        return False
    last = tag[:-2].rsplit(None, 1)[-1]
    return "=" not in last or last[-1] in "\"'/"


def _raw_end(html: str, token: Token, endless: set[str]) -> int:
    """Return where the content of an element without tags ends.

    That is at its end tag, and without one at the end of the text. Only a tag that is closed by a
    slash, as in XML, then has no content.
    """
    if token.name not in endless:
        end_tag = re.compile(rf"</{re.escape(token.name)}(?=[\s/>])", re.I)
        found = end_tag.search(html, token.end)
        if found is not None:
            return found.start()
        endless.add(token.name)
    return token.end if token.closed else len(html)


def attributes(html: str, tag: Token) -> Iterator[tuple[str, int, int]]:
    """Yield the attributes of a tag: name in lower case, start and end of the value.

    Quotes are part of a value. An attribute without one has an empty span.
    """
    place, end = tag.start + 1 + len(tag.name), tag.end
    while place < end:
        found = _ATTRIBUTES.match(html, place, end)
        if found is None or found.end() == place:
            return
        if found["name"] is not None:
            span = found.span("value") if found["value"] is not None else (found.end(), found.end())
            yield found["name"].lower(), *span
        place = found.end()
