"""The one form in which texts reach a tokenizer, in training and in serving alike.

Web pages, office documents and translation memories write one sentence in many ways: composed or
decomposed letters, a no-break space for a space, a line end in the middle, a soft hyphen or a
direction mark that nobody sees. A model that was trained on one of them has other tokens for the
others, and a worse translation. Bases with a normalizer of their own (most have SentencePiece's
nmt_nfkc) apply it to the result.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_ZERO_WIDTH_SPACE: Final = "\u200b"

# Invisible, and without meaning for the words: soft hyphen, word joiner and other invisible
# operators, U+FEFF, and what controls the direction in which text is displayed. Joiners
# (U+200C, U+200D) and variation selectors are part of words and of emoji, and stay.
_INVISIBLE: Final = re.compile("[\u00ad\u061c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]")

# Only from the first blank of a run: else a run of n blanks without a line end costs n² steps.
_LINE_ENDS: Final = re.compile("(?<! ) *[\t-\r\x85\u2028\u2029][ \t-\r\x85\u2028\u2029]*")

# Blanks, control characters, and all that Unicode lists as Default_Ignorable_Code_Point, which has
# no glyph of its own; besides these the interlinear annotation marks and the empty Braille cell.
_UNSEEN: Final = re.compile(
    "[\x00-\x20\x7f-\xa0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f"
    "\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*"
)


def normal(text: str) -> str:
    """Return the form of a source text that a tokenizer is given.

    Letters are composed (NFC). Every run of blanks becomes one space, none is left at the ends:
    line ends, tabs, no-break and ideographic spaces count as blanks, and so does U+200B, which
    separates words without a gap and is a space to nmt_nfkc as well. Other characters that are
    invisible and say nothing about the words are left out.
    """
    if not text.isascii():
        seen = _INVISIBLE.sub("", text).replace(_ZERO_WIDTH_SPACE, " ")
        text = unicodedata.normalize("NFC", seen)
    return " ".join(text.split())


def visible(text: str) -> list[tuple[int, str]]:
    """Return the characters that `normal` composes and joins, with their places in the text."""
    return [
        (place, " " if one == _ZERO_WIDTH_SPACE else one)
        for place, one in enumerate(text)
        if not _INVISIBLE.match(one)
    ]


def normal_target(text: str) -> str:
    """Return the form of a target text that a model is trained on.

    Letters are composed (NFC), and line ends and tabs become spaces: the source has none that could
    ask for them. Everything else is typography that an output shall have, such as the no-break
    spaces of French.
    """
    composed = text if text.isascii() else unicodedata.normalize("NFC", text)
    return _LINE_ENDS.sub(" ", composed)


def is_blank(text: str) -> bool:
    """Return whether a text holds nothing that could be translated.

    That is: blanks, control characters and characters without a glyph (zero-width spaces and
    joiners, soft hyphens, direction marks, variation selectors) and no others.
    """
    return _UNSEEN.fullmatch(text) is not None
