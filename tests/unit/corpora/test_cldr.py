"""The CLDR corpus: splits share nothing, the same seed gives the same text, CLDR's own words."""

from __future__ import annotations

from random import Random

import pytest
from babel import Locale, units

from hub.errors import CorpusError, LanguageError
from hub.languages import LanguagePair
from training.corpora import load_corpus
from training.corpora.cldr import Phrase, build_corpus, fold, sample_phrase
from training.corpora.cldr_kinds import KINDS

BY_NAME = {kind.name: kind for kind in KINDS}
EN_KO = LanguagePair.parse("en-ko")


def small(pair: str = "en-ko", seed: int = 0):
    return load_corpus("cldr", LanguagePair.parse(pair), seed=seed, train=1500, dev=150, test=300)


# Expected texts are CLDR 47's, as its charts show them (https://www.unicode.org/cldr/charts/).
@pytest.mark.parametrize(
    ("kind", "value", "language", "text"),
    [
        ("date", ("full", 2021, 3, 5), "en", "Friday, March 5, 2021"),
        ("date", ("full", 2021, 3, 5), "ko", "2021년 3월 5일 금요일"),
        ("date", ("long", 2021, 3, 5), "de", "5. März 2021"),
        ("relative", ("future", "day", 3), "en", "in 3 days"),
        ("relative", ("past", "week", 9), "en", "9 weeks ago"),
        ("relative", ("past", "minute", 90), "en", "90 minutes ago"),
        ("relative", ("future", "month", 18), "en", "in 18 months"),
        ("relative", ("future", "year", 1), "en", "in 1 year"),
        ("unit", ("long", "length-kilometer", "3.5"), "ko", "3.5킬로미터"),
        (
            "compound_unit",
            ("length-kilometer", "duration-hour", "3"),
            "en",
            "3 kilometers per hour",
        ),
        ("money_by_name", ("USD", "1234.5"), "en", "1,234.50 US dollars"),
        ("money", ("EUR", "9"), "de", "9,00 €"),
        ("compact", (54_100_000,), "en", "54.1 million"),
        ("percent", (415,), "de", "41,5 %"),
        ("territory", ("KR",), "ko", "대한민국"),
        ("language", ("ko",), "de", "Koreanisch"),
        ("locale_name", ("pt", "BR"), "en", "Portuguese (Brazil)"),
        ("city", ("America/New_York",), "en", "New York"),
        ("list", ("or", "territory", (("FR",), ("PE",))), "en", "France or Peru"),
        ("list", ("standard", "territory", (("FR",), ("PE",))), "ko", "프랑스 및 페루"),
    ],
)
def test_a_phrase_says_what_cldr_says(kind, value, language, text):
    assert Phrase(BY_NAME[kind], value).render(Locale.parse(language)) == text


@pytest.mark.parametrize("unit", ["second", "minute", "hour", "day", "week", "month", "year"])
@pytest.mark.parametrize("count", [1, 2, 12, 23, 24, 59, 60, 61, 99])
def test_relative_times_keep_their_unit(unit, count):
    text = Phrase(BY_NAME["relative"], ("future", unit, count)).render(Locale.parse("en"))
    assert text == f"in {count} {unit}{'s' if count > 1 else ''}"


def test_a_unit_without_a_name_is_skipped_not_spelled_as_its_identifier():
    phrase = Phrase(BY_NAME["compound_unit"], ("energy-joule", "duration-month", "25"))
    assert phrase.render(Locale.parse("en")) == "25 joules per month"
    # Babel 2.18 has no Korean name for joules, 2.19 has.
    assert phrase.render(Locale.parse("ko")) in (None, "월당 25줄")


def test_a_unit_that_babel_spells_as_its_identifier_is_skipped(monkeypatch):
    phrase = Phrase(BY_NAME["compound_unit"], ("energy-joule", "duration-month", "25"))
    spelled = "월당 25 energy-joule"  # what Babel 2.18 returns
    monkeypatch.setattr(units, "format_compound_unit", lambda *_, **__: spelled)
    assert phrase.render(Locale.parse("ko")) is None


@pytest.mark.parametrize("pair", ["en-ko", "ko-en", "zh-nl", "cy-gu"])
def test_splits_share_no_item_and_no_text(pair):
    corpus = small(pair)
    splits = (corpus.train, corpus.dev, corpus.test)
    assert [len(split) for split in splits] == [1500, 150, 300]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not {s.item for s in splits[one]} & {s.item for s in splits[other]}
        texts = [{t for s in split for t in (s.source, s.target)} for split in splits]
        assert not texts[one] & texts[other]


def test_an_item_is_in_the_same_split_in_every_pair_and_for_every_seed():
    held_out = {s.item for pair in ("en-ko", "de-fr") for s in small(pair).test}
    trained = {s.item for seed in (1, 2) for s in small("en-sv", seed).train}
    assert len(held_out) > 300
    assert not held_out & trained


def test_names_held_out_are_not_trained_on_inside_lists():
    rng = Random(5)
    unseen = lists = 0
    for _ in range(20_000):
        phrase = sample_phrase(rng)
        if phrase.kind.name != "list":
            continue
        lists += 1
        own = Phrase(phrase.kind, phrase.value).split
        for kind, content in phrase.kind.parts(phrase.value):
            member = BY_NAME[kind]
            value = ("long", *content) if member.styled else content
            held_out = Phrase(member, value).split in ("dev", "test")
            unseen += held_out
            assert not (own == "train" and held_out)
    assert lists > 1000
    assert unseen > 100


def test_the_same_seed_gives_the_same_corpus_and_another_gives_another():
    assert small(seed=3) == small(seed=3)
    assert small(seed=3).fingerprint != small(seed=4).fingerprint


def test_every_kind_occurs_and_is_counted():
    counts = build_corpus(EN_KO, seed=0, train=6000, dev=0, test=0).counts_by_kind()["train"]
    assert set(counts) == set(BY_NAME)
    assert sum(counts.values()) == 6000


def test_fold_makes_typographic_spaces_plain_and_drops_direction_marks():
    assert fold("\u200f46.00\xa0\u200fNGN\u202f ") == "46.00 NGN"


def test_an_unknown_language_is_named():
    with pytest.raises(LanguageError, match="'tlh'"):
        build_corpus(LanguagePair("en", "tlh"), seed=0, train=1, dev=1, test=1)


def test_an_unknown_corpus_is_named_with_the_known_ones():
    with pytest.raises(CorpusError, match="'opus' is unknown; known: cldr"):
        load_corpus("opus", EN_KO, seed=0, train=1, dev=1, test=1)


def test_more_than_there_is_and_less_than_nothing_are_refused():
    with pytest.raises(CorpusError, match="must not be negative"):
        load_corpus("cldr", EN_KO, seed=0, train=-1, dev=1, test=1)
