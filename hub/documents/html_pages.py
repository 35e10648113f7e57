"""HTML: a server that reads HTML is given the page itself, in parts between its blocks.

A part is cut only behind the end of a block and outside of everything that is not translated, so
that no part depends on another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import webencodings

from hub.documents.decoding import decode
from hub.documents.model import HTML, Document, Options, Unit, has_words
from hub.documents.spans import Span, SpanDocument

_META: Final = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([A-Za-z0-9_:.-]{1,40})", re.I)
_LANGUAGE: Final = re.compile(r"<html\b[^>]{0,400}?\blang\s*=\s*[\"']?([A-Za-z0-9-]+)", re.I)
_TAG: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(/?)([a-z][a-z0-9-]{0,40})([^<>]{0,2000})>", re.I | re.S
)
_BLOCK_NAMES: Final = (
    "address article aside blockquote dd div dl dt figure footer form h1 h2 h3 h4 h5 h6 header "
    "hr li main nav ol p section table tbody td tfoot th thead tr ul"
)
_BLOCKS: Final = frozenset(_BLOCK_NAMES.split())
_KEPT_NAMES: Final = "code kbd math pre samp script style svg textarea template title"
_KEPT: Final = frozenset(_KEPT_NAMES.split())
_NOT_TRANSLATED: Final = re.compile(r"translate\s*=\s*[\"']?no|\bnotranslate\b", re.I)
_VOID_NAMES: Final = "area base br col embed hr img input link meta source track wbr"
_VOID: Final = frozenset(_VOID_NAMES.split())


def read_html(data: bytes, options: Options) -> Document:
    """Read a page, in the encoding that it declares."""
    meta = _META.search(data, 0, 2048)
    decoded = decode(data, _declared(meta, options.encoding))
    text = decoded.text
    spans = list(_spans(text, options.unit_characters))
    edits = list(_language(text, options))
    if edits:
        spans = [_apart(span, text, edits[0]) for span in spans]
    return SpanDocument(decoded, spans, errors="xmlcharrefreplace")


def _declared(meta: re.Match[bytes] | None, default: str) -> str:
    """Return the codec that a page declares; UTF-8 for UTF-16, which it cannot be in ASCII.

    So does WHATWG HTML, 13.2.3.2.
    """
    known = webencodings.lookup(meta[1].decode("ascii")) if meta else None
    if known is None:
        return default
    return "utf-8" if known.name.startswith("utf-16") else str(known.codec_info.name)


def _spans(text: str, characters: int) -> Iterator[Span]:
    line = 1
    for start, end in parts(text, characters):
        if has_words(text[start:end]):
            yield Span(start, end, Unit(text[start:end], HTML, f"line {line}"))
        line += text.count("\n", start, end)


def _language(text: str, options: Options) -> Iterator[tuple[int, int, str]]:
    found = _LANGUAGE.search(text, 0, 8192)
    if found is None or not options.target:
        return
    if options.source and found[1].lower().split("-")[0] == options.source.lower().split("-")[0]:
        yield found.start(1), found.end(1), options.target


def _apart(span: Span, text: str, edit: tuple[int, int, str]) -> Span:
    """Return a span whose translation has the page's language declared, if it holds that place."""
    start, end, language = edit
    if not span.start <= start < span.end:
        return span
    head, tail = text[span.start : start], text[start:end]

    def write(translation: str) -> str:
        if not translation.startswith(head + tail):  # the server wrote the tag in another way
            return translation
        return head + language + translation[len(head) + len(tail) :]

    return Span(span.start, span.end, span.unit, write)


def parts(text: str, characters: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of parts of about so many characters at most, where there is a place to cut.

    Args:
        text: A page.
        characters: Above them a part ends at the next place.
    """
    start = last = 0
    for place in _places(text) if len(text) > characters else ():
        if place - start > characters and last > start:
            yield start, last
            start = last
        last = place
    yield start, len(text)


def _places(text: str) -> Iterator[int]:
    """Yield the places behind block tags, outside of what is not translated."""
    kept, depth = "", 0
    for found in _TAG.finditer(text):
        name = (found[2] or "").lower()
        if not name:
            continue
        if kept:
            if name == kept:
                depth += -1 if found[1] else 1
                kept = kept if depth else ""
            continue
        if not found[1] and name not in _VOID and _is_kept(name, found[3]):
            kept, depth = name, 1
        elif found[1] and name in _BLOCKS:
            yield found.end()


def _is_kept(name: str, attributes: str) -> bool:
    if attributes.endswith("/"):
        return False
    return name in _KEPT or bool(_NOT_TRANSLATED.search(attributes))
