"""Character encodings of files: what a byte order mark or a label means, and how it is decoded."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping
from typing import Final

# Text labelled with the narrower name is written with the wider one in practice; each reads all
# that the narrower one does. What else the WHATWG Encoding Standard says of labels, such as that
# ISO-8859-1 means windows-1252, webencodings knows.
_WIDER: Final[Mapping[str, str]] = {
    "ascii": "utf-8",
    "utf-8-sig": "utf-8",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}
# Labels that neither the standard nor Python knows, though programs write them.
_WRITTEN: Final[Mapping[str, str]] = {"utf8mb4": "utf-8", "utf-8-mac": "utf-8"}
_CODE_PAGE: Final = re.compile(r"win(?:dows)?[-_ ]?(\d{3,4})", re.IGNORECASE | re.ASCII)
# Codecs of Python that are no character encodings of files.
_NOT_OF_FILES: Final = frozenset(
    (
        "charmap",
        "idna",
        "mbcs",
        "oem",
        "punycode",
        "raw_unicode_escape",
        "undefined",
        "unicode_escape",
        "x_user_defined",
    )
)
# UTF-32 before UTF-16, whose mark in little-endian order is the beginning of UTF-32's.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def marked_codec(first: bytes) -> tuple[str, int] | None:
    """Return the codec that a byte order mark names, and the mark's length; None without one.

    A mark goes before any label: a label is left behind when a file is converted, a mark is not.
    """
    for mark, codec in _MARKS:
        if first.startswith(mark):
            return codec, len(mark)
    return None


def find_codec(label: str) -> str | None:
    """Return the codec that reads what a file declares, None where the label is not known.

    Labels are taken in any common spelling: "utf8", "x-sjis" and "Windows-1252" are known. A label
    that was read byte by byte, and still says UTF-16 or UTF-32, can only stand in UTF-8.
    """
    found = _codec_info(label.strip().strip("\"'"))
    if found is None or found.name.replace("-", "_") in _NOT_OF_FILES:
        return None
    if not found._is_text_encoding:
        return None
    if found.name.startswith(("utf-16", "utf-32")):
        return "utf-8"
    return _WIDER.get(found.name, found.name)


def _codec_info(label: str) -> codecs.CodecInfo | None:
    import webencodings

    label = _WRITTEN.get(label.lower(), _CODE_PAGE.sub(r"cp\1", label))
    try:
        own = codecs.lookup(label)
    except (LookupError, ValueError):  # ValueError: a NUL in the label
        own = None
    if own is not None and own.name == "ascii":  # windows-1252 on the web
        return own
    known = webencodings.lookup(label)
    # Browsers refuse what the standard calls "replacement"; Python reads it.
    return own if known is None or known.name == "replacement" else known.codec_info


def text_decoder(codec: str) -> codecs.IncrementalDecoder:
    """Return a decoder for what `marked_codec` or `find_codec` names."""
    if codec.startswith("cp125") or codec == "cp874":
        return _CodePageDecoder(codec)
    return codecs.getincrementaldecoder(codec)()


class _CodePageDecoder(codecs.IncrementalDecoder):
    """Decodes a Windows code page as the WHATWG Encoding Standard does.

    The few bytes from 0x80 to 0x9F that a code page leaves undefined are the control characters of
    ISO 8859, which such files may well be labelled as.
    """

    def __init__(self, codec: str) -> None:
        super().__init__()
        plain = bytes(range(256)).decode(codec, "replace")
        undefined = "\ufffe"  # what charmap_decode refuses
        self._table = "".join(
            character if character != "\ufffd" else chr(byte) if byte < 0xA0 else undefined
            for byte, character in enumerate(plain)
        )

    def decode(self, input: bytes, final: bool = False) -> str:  # type: ignore[override]
        return codecs.charmap_decode(input, "strict", self._table)[0]


def is_single_byte(codec: str) -> bool:
    """Return whether every byte is a character of its own, so that nearly any bytes are text."""
    try:
        for byte in range(0x80, 0x100):
            bytes([byte]).decode(codec)
    except UnicodeDecodeError as error:
        return error.reason == "character maps to <undefined>"
    return True


def settle_codec(codec: str, stated: str, blocks: Iterable[bytes]) -> tuple[str, str]:
    """Return the codec of a text with a label that may be left over, and what to say about it.

    A text in an encoding of one byte a character is never valid UTF-8 by chance: it was converted,
    and its label was not. A few words in an encoding of several may be.

    Args:
        codec: What the label means.
        stated: How the file states it, for the note.
        blocks: All of the text.
    """
    if codec == "utf-8" or not _is_utf8(blocks):
        return codec, ""
    if is_single_byte(codec):
        return (
            "utf-8",
            f"{stated}, but all of it is valid UTF-8, so it was read as that; correct it",
        )
    return codec, f"{stated}, but all of it is valid UTF-8, too; if letters are wrong, correct it"


def _is_utf8(blocks: Iterable[bytes]) -> bool:
    """Return whether there are characters beyond ASCII, and all of them are valid UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    seen = False
    try:
        for block in blocks:
            decoder.decode(block)
            seen |= not block.isascii()
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return False
    return seen
