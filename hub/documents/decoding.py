"""Bytes of a text file ⇄ text, with byte order mark and line ends kept."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Final

from hub.errors import DocumentError

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


_NOT_OF_FILES: Final = frozenset(
    {"punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined"}
)
"""Codecs of Python's that are no encodings of files; some take the square of a text's length."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text and how it was written."""

    text: str
    encoding: str
    mark: bytes = b""

    def encode(self, text: str, errors: str = "strict") -> bytes:
        """Return a text in the file's encoding.

        Raises:
            DocumentError: The encoding has no form for one of its characters.
        """
        try:
            return self.mark + text.encode(self.encoding, errors)
        except UnicodeEncodeError as error:
            character = text[error.start]
            raise DocumentError(
                f"{self.encoding} cannot write {character!r} (U+{ord(character):04X}) of the "
                "translation; convert the file to UTF-8 first"
            ) from None

    @property
    def line_end(self) -> str:
        """Return how the file ends a line: as its first line does."""
        place = self.text.find("\n")
        return "\r\n" if place > 0 and self.text[place - 1] == "\r" else "\n"


def decode(data: bytes, encoding: str = "utf-8") -> Decoded:
    """Return the text of a file: by its byte order mark, else in the encoding given.

    Raises:
        DocumentError: The encoding is not known, or the bytes are none of it.
    """
    mark, name = next(
        ((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", encoding)
    )
    try:
        known = codecs.lookup(name)
        if known.name in _NOT_OF_FILES:
            raise LookupError("it is no encoding of files")
        text = data[len(mark) :].decode(known.name)
    except UnicodeDecodeError as error:
        place = error.start + len(mark)
        raise DocumentError(
            f"byte 0x{data[place]:02x} at position {place} is not {name}; "
            "name the file's encoding or convert it to UTF-8"
        ) from None
    except (LookupError, ValueError) as error:  # also codecs that make no text, such as base64
        raise DocumentError(f"encoding {name!r:.60} is not known: {error!s:.80}") from None
    if not isinstance(text, str):
        raise DocumentError(f"{name!r} is not an encoding of text; name one such as utf-8")
    return Decoded(text, known.name, mark)
