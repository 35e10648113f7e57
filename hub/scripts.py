"""Unicode scripts, told by the names of characters: no table to keep, no library to need.

Every letter's Unicode name begins with its script ("HANGUL SYLLABLE GA"). What has no such name
(modifier letters, ordinal indicators, mathematical letters, the prolonged sound mark) belongs to no
script and counts for none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from hub.languages import AMBIGUOUS

# ISO 15924 codes, and how the names of their letters begin.
_NAMES: Final[Mapping[str, str]] = {
    "Arab": "ARABIC",
    "Armn": "ARMENIAN",
    "Beng": "BENGALI",
    "Cans": "CANADIAN",
    "Cher": "CHEROKEE",
    "Cyrl": "CYRILLIC",
    "Deva": "DEVANAGARI",
    "Ethi": "ETHIOPIC",
    "Geor": "GEORGIAN",
    "Grek": "GREEK",
    "Gujr": "GUJARATI",
    "Guru": "GURMUKHI",
    "Hans": "CJK BOPOMOFO",
    "Hant": "CJK BOPOMOFO",
    "Hebr": "HEBREW",
    "Jpan": "HIRAGANA KATAKANA CJK",
    "Khmr": "KHMER",
    "Knda": "KANNADA",
    "Kore": "HANGUL CJK",
    "Laoo": "LAO",
    "Latn": "LATIN",
    "Mlym": "MALAYALAM",
    "Mong": "MONGOLIAN",
    "Mtei": "MEETEI",
    "Mymr": "MYANMAR",
    "Nkoo": "NKO",
    "Olck": "OL",
    "Orya": "ORIYA",
    "Sinh": "SINHALA",
    "Syrc": "SYRIAC",
    "Taml": "TAMIL",
    "Telu": "TELUGU",
    "Tfng": "TIFINAGH",
    "Thaa": "THAANA",
    "Thai": "THAI",
    "Tibt": "TIBETAN",
    "Yiii": "YI",
}
_KNOWN: Final = frozenset(name for names in _NAMES.values() for name in names.split())
_WIDTHS: Final = frozenset({"FULLWIDTH", "HALFWIDTH"})


def script_of(letter: str) -> str:
    """Return the first word of a letter's script, "" for what belongs to none we know."""
    if not letter.isalpha():
        return ""
    first, _, rest = unicodedata.name(letter, "").partition(" ")
    if first in _WIDTHS:
        first = rest.partition(" ")[0]
    return first if first in _KNOWN else ""


def is_script(character: str, scripts: frozenset[str]) -> bool:
    """Tell whether a letter or a mark is of given scripts, or of none that we know."""
    first, _, rest = unicodedata.name(character, "").partition(" ")
    if first in _WIDTHS:
        first = rest.partition(" ")[0]
    return first in scripts or first not in _KNOWN


@lru_cache(maxsize=256)
def scripts_of(language: str) -> frozenset[str]:
    """Return what a language's letters are named after; the empty set where we do not know.

    Languages written in several scripts (`sr`) have the letters of all of them.
    """
    from langcodes import Language

    codes = AMBIGUOUS.get(language, (language,))
    scripts = {str(Language.get(code).maximize().script) for code in codes}
    return frozenset(name for script in scripts for name in _NAMES.get(script, "").split())


class LetterTable(dict[int, str | None]):
    """Translates letters of given scripts to "+", all other letters to "-", the rest to nothing.

    It fills itself with the characters that occur, at most all of Unicode's, so that
    `str.translate` costs a dictionary's look-up per character.
    """

    def __init__(self, scripts: frozenset[str]) -> None:
        """Take the scripts, as `scripts_of` returns them."""
        super().__init__()
        self._scripts = scripts

    def __missing__(self, point: int) -> str | None:
        script = script_of(chr(point))
        found = ("+" if script in self._scripts else "-") if script else None
        self[point] = found
        return found

    def share(self, text: str) -> float:
        """Return the share of a text's letters that are in the scripts; 1 where it has none."""
        marks = text.translate(self)
        return marks.count("+") / len(marks) if marks else 1.0


_WITHOUT_SPACES: Final = frozenset(
    {"HIRAGANA", "KATAKANA", "CJK", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "YI"}
)


def writes_no_spaces(character: str) -> bool:
    """Return whether a character is of a script that puts no spaces between words."""
    if unicodedata.category(character).startswith("P"):
        return unicodedata.east_asian_width(character) in ("W", "F")
    return script_of(character) in _WITHOUT_SPACES
