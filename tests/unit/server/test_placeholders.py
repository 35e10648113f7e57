"""Placeholders come out as they went in, whatever a model does with their stand-ins."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.messages import Flag
from server.translation.documents import Rendered, plain_units
from server.translation.offsets import Link, UnitTranslation, unchanged
from server.translation.placeholders import Finder, mask, numbers_in
from tests.support.careless import careless

KINDS = [
    "{name}", "{0}", "{{x}}", "%s", "%1$d", "%(name)s", "%%", "${x}", "%{count}", "#{x}", "{}",
    "{count, plural, one {# item} other {# items of {total}}}", "{day, date, short}", "{% if x %}",
    "https://a.example/b?c=1&d=2", "mailto:a@b.example", "info@a-b.example", "%NAME%", "%d", "%.2f",
    "www.example.org/x_y", "{user.name!r:>10}", "%1", "%@", "{{{raw}}}", "%<x>s", "%n",
]  # fmt: skip


@pytest.mark.parametrize("raw", KINDS)
def test_every_kind_is_found_alone_and_in_a_sentence(raw: str) -> None:
    finder = Finder()
    assert [one.raw for one in finder.find(raw)] == [raw]
    for text in (f"Hello {raw}, you!", f"({raw}).", f"日本 {raw} 語", f"a {raw} {raw} b"):
        found = finder.find(text)
        assert {one.raw for one in found} == {raw}
        assert all(text[one.start : one.end] == raw for one in found)
        assert len(found) == text.count(raw)


@pytest.mark.parametrize(
    "text",
    ["50% of all", "it costs $5 or $1", "{hello world}", "100 % sure", "x@y", "and/or",
     "{a, plural, {", "e.g. this", "10:30", "}{", "C:\\dir", "20%.", "a{"],
)  # fmt: skip
def test_what_looks_like_one_and_is_none(text: str) -> None:
    assert Finder().find(text) == []


def test_urls_end_before_the_punctuation_of_their_sentence() -> None:
    text = (
        "See https://a.example/x(y), (www.b.example/z). Write to a@b.example! https://c.exampleを"
    )
    found = [one.raw for one in Finder().find(text)]
    assert found == [
        "https://a.example/x(y)", "www.b.example/z", "a@b.example", "https://c.example"
    ]  # fmt: skip


def test_spans_to_keep_are_whole_words_and_the_longest_wins() -> None:
    finder = Finder(["Acme", "Acme Cloud", "東京", "C++", " "])
    text = "Acme, Acmes, Acme Cloud; Acmeの東京都 C++ xC++ AcmeCloud"
    assert [one.raw for one in finder.find(text)] == [
        "Acme", "Acme Cloud", "Acme", "東京", "C++"
    ]  # fmt: skip


def test_numbers_stand_for_placeholders_and_are_not_those_of_the_text() -> None:
    text = "17 {a}{b}5{c} 54 %s"
    masked = mask(text, Finder().find(text))
    numbers = [number for _, _, number in numbers_in(masked.text)]
    assert len(numbers) == len(set(numbers)) == 7
    assert {17, 54, 5} <= set(numbers)
    for one in masked.masks:
        assert masked.text[one.start : one.end] == str(one.number)
    document = plain_units(text)
    (unit,) = document.units
    assert document.render([unchanged(unit.text)]).text == text
    spoken = unchanged(unit.text + " x")
    assert document.render([spoken]).text == text + " x"
    assert document.render([spoken]).details == ()


def test_many_placeholders_have_numbers_of_their_own() -> None:
    text = " ".join(["{x}"] * 2000)
    masked = mask(text, Finder().find(text))
    assert len({one.number for one in masked.masks}) == 2000


def answer(text: str, target: str, links: list[tuple[int, int, int, int]]) -> tuple[str, list[str]]:
    """Translate with the numbers of the text put for A, B and C."""
    document = plain_units(text)
    (unit,) = document.units
    numbers = [str(number) for _, _, number in numbers_in(unit.text)]
    for letter, number in zip("ABC", numbers, strict=False):
        target = target.replace(letter, number)
    rendered = document.render([UnitTranslation(target, tuple(Link(*one) for one in links))])
    for detail in rendered.details:
        assert detail.flag is Flag.PLACEHOLDER_MISMATCH
    return rendered.text, [one for detail in rendered.details for one in detail.subjects]


def test_reordered_placeholders_need_no_repair() -> None:
    assert answer("{a} of %s", "B의 A", []) == ("%s의 {a}", [])


def test_digits_of_other_scripts_are_read() -> None:
    text = "{a} x"
    (unit,) = plain_units(text).units
    number = unit.text.split()[0]
    arabic = number.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))
    assert arabic != number
    assert answer(text, f"س {arabic}", []) == ("س {a}", [])


def test_a_lost_placeholder_goes_where_its_place_is_aligned_to() -> None:
    # "Hallo NN heute" -> "Hello dear today"; 6:8 is the number, aligned to "dear".
    links = [(0, 5, 0, 5), (6, 10, 6, 8), (11, 16, 9, 14)]
    assert answer("Hallo {x} heute", "Hello dear today", links) == (
        "Hello {x} dear today", ["{x}"]
    )  # fmt: skip
    # Nothing is aligned to the number: behind what its neighbour became.
    assert answer("Hallo {x} heute", "Hello today", [(0, 5, 0, 5), (6, 11, 9, 14)]) == (
        "Hello {x} today", ["{x}"]
    )  # fmt: skip
    assert answer("Hallo {x} heute", "Hello today", []) == ("Hello today {x}", ["{x}"])


def test_a_number_that_was_garbled_is_replaced() -> None:
    assert answer("Hallo {x} heute", "Hello 1799 today", [(6, 10, 6, 8)]) == (
        "Hello {x} today", ["{x}"]
    )  # fmt: skip


def test_of_two_numbers_the_aligned_one_stays() -> None:
    assert answer("Hallo {x} heute", "A hello A today", [(0, 2, 0, 5), (9, 11, 6, 8)]) == (
        " hello {x} today", ["{x}"]
    )  # fmt: skip


def test_a_number_that_comes_from_another_number_stays() -> None:
    """The model writes "5 PM" as an hour that happens to stand for the placeholder."""
    document = plain_units("{x} at 5 PM")
    (unit,) = document.units
    number = unit.text.split()[0]
    target = f"um {number} Uhr {number}"
    links = (Link(3, 5, 6, 7), Link(6, 9, 8, 10), Link(10, 12, 0, 2))
    rendered = document.render([UnitTranslation(target, links)])
    assert rendered == Rendered(f"um {number} Uhr {{x}}")


def test_what_the_model_invents_is_no_placeholder() -> None:
    text, repaired = answer("Hallo %s heute", "Hello A %s today", [])
    assert (text.split(), repaired) == (["Hello", "%s", "today"], ["%s"])
    text, repaired = answer("Hallo %s heute", "Hello %A today", [])
    assert [one.raw for one in Finder().find(text)] == ["%s"]
    assert repaired == ["%s"]


def test_nothing_to_translate_is_no_unit() -> None:
    for text in ("", "  ", "{name}", "{a} %s\n", "https://a.example"):
        document = plain_units(text)
        assert document.units == ()
        assert document.render([]).text == text


SCRIPTS = [
    "Haus",
    "maison",
    "집",
    "東京",
    "город",
    "بيت",
    "बिल्ली",
    "บ้าน",
    "17",
    "5",
    "3.5",
    "né",
    "e\u0301",
]
WORDS = st.sampled_from([*SCRIPTS, *KINDS, "Acme", "%", "{", "}", ".", "¿"])
TEXTS = st.lists(st.tuples(WORDS, st.sampled_from([" ", "", "  ", "\n"])), max_size=14).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)


@settings(max_examples=400, deadline=None)
@given(TEXTS | st.text(max_size=30), st.integers(0, 10**6), st.booleans())
@example("{a}%%s", 0, True)
@example("5%%s{x}", 3, False)
def test_all_placeholders_come_back(text: str, seed: int, aligned: bool) -> None:
    finder = Finder(["Acme"])
    document = plain_units(text, ["Acme"])
    found = finder.find(text)
    assert [text[one.start : one.end] for one in found] == [one.raw for one in found]
    for unit in document.units:
        assert document.render([unchanged(unit.text)]).text == text
        rendered = document.render([careless(unit.text, seed, aligned=aligned)])
        wanted = Counter(one.raw for one in found)
        read = Counter(one.raw for one in finder.find(rendered.text))
        assert {raw: read[raw] for raw in wanted if raw != "Acme"} == {
            raw: count for raw, count in wanted.items() if raw != "Acme"
        }
        assert read["Acme"] >= wanted["Acme"]
        for detail in rendered.details:
            assert set(detail.subjects) <= set(wanted)


@pytest.mark.parametrize(
    "junk",
    ["{a,plural,", "%(", "{", "a.", "a@", "www.", "http://", ")", "http://)", "%", "{ ", "{{", "${",
     "@", "a-", "%s", "{x}", "17 ", "a@a.a"],
)  # fmt: skip
def test_hostile_text_comes_to_an_end(junk: str) -> None:
    text = junk * (50_000 // len(junk))
    document = plain_units(text)
    translations = [UnitTranslation("x y") for _ in document.units]
    document.render(translations)
