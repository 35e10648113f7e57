"""The form of texts before a tokenizer, against Unicode's own tables and SentencePiece's rules."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.commands.texts import one_line
from hub.text import is_blank, normal, normal_target

# PropList.txt, White_Space=yes (Unicode 14).
WHITE_SPACE = [
    *range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
    0x205F, 0x3000,
]  # fmt: skip

# DerivedCoreProperties.txt, Default_Ignorable_Code_Point=yes, the assigned ones without the
# variation selectors supplement and the tags.
IGNORABLE = [
    0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810),
    *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0x3164,
    *range(0xFE00, 0xFE10), 0xFEFF, 0xFFA0, *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B),
    0xE0001, *range(0xE0020, 0xE0080), *range(0xE0100, 0xE01F0),
]  # fmt: skip


@pytest.mark.parametrize("code", WHITE_SPACE)
def test_every_blank_is_one_space(code: int) -> None:
    blank = chr(code)
    assert normal(f"{blank}a{blank}{blank} b{blank}") == "a b"
    assert is_blank(blank * 2)


def test_a_text_in_plain_form_stays() -> None:
    for text in (
        "",
        "a b",
        "금요일 7:30",
        "1,000 €",
        "می\u200cخواهم",
        "क्\u200dष",
        "❤\ufe0f",
        "👨\u200d👩",
    ):
        assert normal(text) == text
    assert normal("a\u200bb") == "a b"  # a space to nmt_nfkc, too
    assert normal("a\u200b \ufeff b\u2060") == "a b"
    assert normal("Donau\u00addampf\u00adschiff") == "Donaudampfschiff"


def test_letters_are_composed() -> None:
    assert normal("e\u0301") == normal_target("e\u0301") == "\u00e9"
    assert normal("e\u00ad\u0301") == "\u00e9"
    assert normal("\u1112\u1161\u11ab") == "한"
    assert normal("\u212b") == "\u00c5"


def test_targets_keep_all_but_line_ends_and_tabs() -> None:
    kept = "«\u00a0oui\u202f!\u00a0» a\u00adb \u200fc  d\u3000e"
    assert normal_target(kept) == kept
    assert normal_target("a \r\n b\tc\u2028d\u0085\n\n e") == "a b c d e"


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_the_form_is_stable_and_holds_what_it_says(text: str) -> None:
    once = normal(text)
    assert normal(once) == once
    assert once == once.strip()
    assert unicodedata.is_normalized("NFC", once)
    assert re.search(r"\s\s|[^\S ]", once) is None
    assert normal(unicodedata.normalize("NFD", text)) == once
    target = normal_target(text)
    assert normal_target(target) == target
    assert "\n" not in target


def test_the_ignorable_alone_are_blank() -> None:
    for code in IGNORABLE:
        assert is_blank(chr(code)), hex(code)
        assert is_blank(f" {chr(code)}\n"), hex(code)
        assert not is_blank(f"{chr(code)}a"), hex(code)
    assert is_blank("".join(map(chr, IGNORABLE)))


def test_nothing_that_has_a_glyph_is_blank() -> None:
    """By category: letters, marks that are seen, numbers, punctuation, symbols, private use."""
    unseen = {*WHITE_SPACE, *IGNORABLE, 0x2800}
    for code in range(sys.maxunicode + 1):
        kind = unicodedata.category(chr(code))[0]
        if kind in "LMNPS" or (kind == "C" and unicodedata.category(chr(code)) in ("Co", "Cs")):
            assert is_blank(chr(code)) == (code in unseen), hex(code)
    for sign in ("\u0600", "\u06dd", "\U000110bd"):  # of category Cf, but seen
        assert not is_blank(sign)


def test_long_runs_of_blanks_cost_time_in_proportion() -> None:
    blanks = " " * 300_000  # the square of it would take minutes
    assert normal_target(f"a{blanks}b") == f"a{blanks}b"
    assert one_line(f"a{blanks}b\n\n{blanks}c") == f"a{blanks}b c"
