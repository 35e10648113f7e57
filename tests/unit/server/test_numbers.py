"""Numbers of a translation against those of its source."""

from __future__ import annotations

import re

import pytest

from hub.languages import LanguagePair
from server.quality.numbers import disagreeing
from training.corpora import load_corpus


@pytest.mark.parametrize(
    ("source", "translation"),
    [
        ("no number here", "5 Katzen"),  # a word for it in the source
        ("3 cats", "drei Katzen"),
        ("1,000 cats", "tausend Katzen"),
        ("1,234,567.89", "1.234.567,89"),
        ("1,234,567.89", "1 234 567,89"),
        ("1’234’567.89", "1 234 567,89"),
        ("1,234,567", "१२,३४,५६७"),
        ("12,34,567", "1,234,567"),
        ("٣٫١٤", "3.14"),
        ("May 3, 2027", "2027년 5월 3일"),
        ("5/13/2005 – 5/18/2005", "13.–18.05.2005"),
        ("Jan 30, 1955, 8:25 PM", "30.01.1955, 20:25"),
        ("12:05 AM", "0 h 05"),
        ("in 2021", "พ.ศ. 2564"),
        ("'99", "1999"),
        ("rooms 05 and 6", "5호실과 6호실"),
        ("1.5 million", "1 500 000"),
    ],
)
def test_the_same_said_otherwise_is_no_alarm(source: str, translation: str) -> None:
    assert disagreeing(source, translation) == ()


@pytest.mark.parametrize(
    ("source", "translation", "languages"),
    [
        ("35.8 million", "3580만", ("en", "ko")),
        ("520 thousand", "5.2 लाख", ("en", "hi")),
        ("840 billion", "8400億", ("en", "ja")),
    ],
)
def test_words_for_powers_of_ten_are_known(
    source: str, translation: str, languages: tuple[str, ...]
) -> None:
    assert disagreeing(source, translation, languages) == ()
    assert disagreeing(source, translation) != ()


@pytest.mark.parametrize(
    ("source", "translation", "missing"),
    [
        ("3 pills", "5 Pillen", ("3",)),
        ("10 mg", "100 mg", ("10",)),
        ("1,234.5", "1.243,5", ("12345",)),
        ("in 2021", "im Jahr 2012", ("2021",)),
        ("in 2021", "damals", ("2021",)),
        ("flight 357", "Flug", ("357",)),
        ("7:45", "7 Uhr 54", ("45", "745")),
        ("call 555-0199", "rufen Sie 555-0198 an", ("199",)),
    ],
)
def test_another_number_is_an_alarm(
    source: str, translation: str, missing: tuple[str, ...]
) -> None:
    found = disagreeing(source, translation, ("en", "de"))
    assert found
    assert set(found) <= set(missing)


@pytest.mark.parametrize("name", ["en-ko", "en-de", "de-fr", "en-hi"])
def test_human_translations_raise_next_to_no_alarm(name: str) -> None:
    pair = LanguagePair.parse(name)
    segments = load_corpus("cldr", pair, seed=2, train=600, dev=1, test=1).train
    languages = (pair.source, pair.target)
    alarms = [one for one in segments if disagreeing(one.source, one.target, languages)]
    assert sum(bool(re.search(r"\d", one.source)) for one in segments) > 300
    assert len(alarms) / len(segments) < 0.005, alarms
