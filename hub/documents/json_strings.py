"""JSON of strings: values are translated, keys and everything between them stay as they are.

The standard library's parser says whether the text is JSON. In a text that is, a quotation mark
opens or closes a string and nothing else, so strings can be found without a second parser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from hub.documents.decoding import decode
from hub.documents.model import Document, Options, bounded
from hub.documents.spans import Span, SpanDocument, write_inline
from hub.documents.tags import tagged
from hub.errors import DocumentError

_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"([ \t\r\n]*:)?')


def read_json(data: bytes, options: Options) -> Document:
    """Read a JSON file.

    Raises:
        DocumentError: It is not JSON.
    """
    decoded = decode(data, options.encoding)
    try:
        json.loads(decoded.text)
    except RecursionError:
        raise DocumentError("the JSON is nested too deeply to be read; flatten it") from None
    except ValueError as error:
        raise DocumentError(f"it is not JSON: {error}; mend the file") from None
    return SpanDocument(decoded, list(bounded(_values(decoded.text))))


def _values(text: str) -> Iterator[Span]:
    ascii_only = text.isascii() and "\\u" in text
    key, line, done = "", 1, 0
    for found in _STRING.finditer(text):
        line += text.count("\n", done, found.start())
        done = found.start()
        value = _decoded(found[0][: found.end(1) - found.start() + 1])
        if found[2] is not None:
            key = value
            continue
        inline = tagged(value, f"line {line} ({key[:40]})" if key else f"line {line}")
        if inline.unit is not None and _is_text(value):
            write = write_inline(inline, lambda text: _encoded(text, ascii_only))
            yield Span(found.start(1), found.end(1), inline.unit, write)


def _is_text(value: str) -> bool:
    """Tell whether a program could be reading a lone surrogate there."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _decoded(literal: str) -> str:
    return str(json.loads(literal, strict=False))


def _encoded(text: str, ascii_only: bool) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]
