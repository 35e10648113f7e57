"""Character encodings that files declare: which codec reads them, and which names mean nothing."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import Final

# Text labelled with the narrower name is written with the wider one in practice; each reads all
# that the narrower one does (the WHATWG Encoding Standard makes the same choices).
_WIDER: Final[Mapping[str, str]] = {
    "ascii": "utf-8",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
}
# Codecs of Python that are no character encodings of files.
_NOT_OF_FILES: Final = frozenset(
    ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem")
)


def find_codec(name: str) -> str | None:
    """Return the codec that reads what a file declares, None where the name is not known.

    Names are taken in any common spelling: "utf8", "UTF-8" and "Windows-1252" are known.
    """
    try:
        found = codecs.lookup(name.strip())
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        return None
    if found.name.replace("-", "_") in _NOT_OF_FILES or not found._is_text_encoding:
        return None
    return _WIDER.get(found.name, found.name)
