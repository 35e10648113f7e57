from __future__ import annotations

from itertools import pairwise

import pytest
import regex  # type: ignore[import-untyped]
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from hub.languages import LanguagePair
from hub.text import is_blank
from server.messages import Split
from server.translation.segments import Segment, _has_inner_stop, fit, segments_of
from training.corpora.cldr import build_corpus


def pieces(text: str, language: str = "en", split: Split = Split.SENTENCES) -> list[str]:
    return [text[one.start : one.end] for one in segments_of(text, language, split)]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Hello there. How are you?", "en", ["Hello there.", "How are you?"]),
        ('He said: "Go!" Then he left.', "en", ['He said: "Go!"', "Then he left."]),
        ("Dr. Smith lives in Washington D.C. today.", "en", None),
        ("See https://example.org/a?b=c. It works.", "en", None),
        ("Er kam am 21. Oktober. Dann ging er.", "de", ["Er kam am 21. Oktober.", "Dann ging er."]),
        ("1984. 10. 28. ~ 1985. 1. 2.", "ko", None),
        ("こんにちは。元気ですか？はい！", "ja", ["こんにちは。", "元気ですか？", "はい！"]),
        ("हां। नहीं। क्यों?", "hi", ["हां।", "नहीं।", "क्यों?"]),
        ("مرحبا. كيف حالك؟ أنا بخير.", "ar", ["مرحبا.", "كيف حالك؟", "أنا بخير."]),
        ("17 ก.พ. 2025", "th", None),
        ("Milk\n\nBread", "en", ["Milk", "Bread"]),
        ("one line\nof a sentence", "en", None),
        ("Buy:\r\n- milk\r\n- bread\r\n", "en", ["Buy:", "milk", "bread"]),
        ("1. Wash hands\n2. Eat", "en", ["1. Wash hands", "2. Eat"]),
        ("  \n\t", "en", []),
        ("\u200b\ufeff", "en", []),
    ],
)
def test_sentences(text: str, language: str, expected: list[str] | None) -> None:
    assert pieces(text, language) == ([text] if expected is None else expected)


def test_other_ways_to_split() -> None:
    text = "One. Two.\nThree\r\nfour\u2028five"
    assert pieces(text, split=Split.OFF) == [text]
    assert pieces(text, split=Split.LINES) == ["One. Two.", "Three", "four", "five"]


@pytest.mark.parametrize("pair", ["en-ko", "de-fr", "ko-ja", "fr-de", "hu-en", "ar-en", "th-en"])
def test_dates_units_and_names_of_real_text_are_not_cut(pair: str) -> None:
    corpus = build_corpus(LanguagePair.parse(pair), seed=3, train=1000, dev=1, test=1)
    cut = [one.source for one in corpus.train if len(pieces(one.source, pair[:2])) != 1]
    assert len(cut) <= 2, cut  # a full stop and a capital letter may well be an abbreviation


_SAMPLES = [
    Locale.parse(code).languages.get(code, "a") for code in ("ar", "hi", "ja", "ko", "ru", "th")
]
_PARTS = st.sampled_from(
    ["Hello", "Dr.", "e.g. ", ". ", "! ", "? ", "。", "؟ ", "।", "\n", "\r\n", "\r", "\n\n",
     "\u2028", "\u2029", "- ", "* ", "• ", "1. ", "23) ", "https://a.b/c?d=e.", "a@b.org", "\u00a0",
     "\t", " ", "\u3000", "\u200b", "…", "'s", "3.14", "\u0301", "👩\u200d👧", *_SAMPLES]
)  # fmt: skip


@given(st.lists(_PARTS | st.characters(codec="utf-8"), max_size=30).map("".join))
def test_pieces_and_what_is_between_them_are_the_text(text: str) -> None:
    for split in Split:
        for language in ("en", "ja", "xx"):
            found = segments_of(text, language, split)
            bounds = [0, *(place for one in found for place in (one.start, one.end)), len(text)]
            assert bounds == sorted(bounds)
            gaps = [text[a:b] for a, b in list(pairwise(bounds))[::2]]
            assert all(is_blank(gap.translate(_BULLETS)) for gap in gaps), gaps
            for one in found:
                piece = text[one.start : one.end]
                assert piece == piece.strip() != ""
                assert not is_blank(piece)


_BULLETS = {ord(bullet): " " for bullet in "-*•‣◦·▪–—"}


def words(text: str) -> int:
    return len(text.split()) + 2


def test_a_long_sentence_is_cut_at_its_clauses_first() -> None:
    text = (
        "This is a long sentence, which has clauses; and others, that go on and on: until nobody "
        "knows what it was that the author wanted to say"
    )
    parts = [text[one.start : one.end] for one in fit(text, Segment(0, len(text)), words, 12)]
    assert parts[:2] == [
        "This is a long sentence, which has clauses;",
        "and others, that go on and on:",
    ]
    assert all(words(part) <= 12 for part in parts)
    assert " ".join(parts) == text


def test_text_without_blanks_is_cut_between_characters() -> None:
    text = "가나다라" * 10 + "👩\u200d👧" * 5
    parts = fit(text, Segment(0, len(text)), len, 12)
    assert "".join(text[one.start : one.end] for one in parts) == text
    assert all(one.end - one.start <= 12 for one in parts)
    assert all(not text[one.start].startswith("\u200d") for one in parts)
    assert all(one.part for one in parts)


def test_what_fits_is_left_alone() -> None:
    assert fit("a b c", Segment(0, 5), words, 12) == [Segment(0, 5)]


@given(st.text(min_size=1, max_size=200).filter(lambda text: text.strip() == text))
def test_parts_lose_nothing_but_blanks(text: str) -> None:
    parts = fit(text, Segment(0, len(text)), len, 9)
    bounds = [0, *(place for one in parts for place in (one.start, one.end)), len(text)]
    assert bounds == sorted(bounds)
    assert all(is_blank(text[a:b]) for a, b in list(pairwise(bounds))[::2])


@given(st.text(alphabet=". !?。…-(\n\u0e2fab1ก한\u2028", max_size=12))
def test_an_inner_stop_is_found_as_the_plain_pattern_finds_it(text: str) -> None:
    plain = regex.compile(r"\p{Sentence_Terminal=Yes}[\p{P}\s]*[\p{L}\p{N}]")
    assert _has_inner_stop(text) is bool(plain.search(text))


@pytest.mark.parametrize("part", ["...", ". ", "。", "?!", "-", "x. ", "x", "! b", "A. b "])
def test_time_grows_with_the_text_and_no_faster(part: str) -> None:
    """Looking on from every character would take minutes; the timeout of tests is the limit."""
    text = part * (100_000 // len(part))
    for whole in (text, text + " Seoul. Paris"):
        found = segments_of(whole, "en", Split.SENTENCES)
        assert all(one.end <= two.start for one, two in pairwise(found))
