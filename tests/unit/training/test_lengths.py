"""Scores by source length are sacreBLEU's scores of those items alone."""

from __future__ import annotations

import pytest
import sacrebleu

from training.evidence.card import span
from training.evidence.lengths import by_length, length_of, unit_of
from training.evidence.scoring import Scorer

SOURCES = ["one two", "a b c d e", "a b c d e f", " ".join("x" * 41), "one"]
REFERENCES = ["eins zwei", "das ist ein Satz hier", "noch ein Satz", "viele Wörter", "eins"]
BASE = ["eins drei", "das war ein Satz da", "ein Satz", "wenige Worte", "zwei"]
ADAPTER = ["eins zwei", "das ist kein Satz hier", "noch ein Satz", "viele Worte", "eins"]


def test_buckets_are_scored_alone() -> None:
    scorer = Scorer(REFERENCES, "de")
    found = by_length(SOURCES, "en", scorer.measure(BASE), scorer.measure(ADAPTER))
    assert [(each.low, each.high, each.items) for each in found] == [
        (0, 5, 3), (6, 10, 1), (41, None, 1),
    ]  # fmt: skip
    assert [span(each) for each in found] == ["up to 5", "6–10", "over 40"]
    short = {score.metric: score for score in found[0].scores}
    inside = [0, 1, 4]
    for texts, value in ((BASE, short["chrf++"].base), (ADAPTER, short["chrf++"].adapter)):
        alone = sacrebleu.corpus_chrf(
            [texts[i] for i in inside], [[REFERENCES[i] for i in inside]], word_order=2
        ).score
        assert value == pytest.approx(alone, abs=1e-4)
    assert short["exact"].base == 0
    assert short["exact"].adapter == pytest.approx(200 / 3, abs=1e-4)


@pytest.mark.parametrize(
    ("language", "unit"),
    [("en", "words"), ("ko", "words"), ("ja", "characters"), ("zh-Hant", "characters"),
     ("th", "characters")],
)  # fmt: skip
def test_units(language: str, unit: str) -> None:
    assert unit_of(language) == unit


def test_lengths_leave_blanks_out() -> None:
    assert length_of(" two  words ", "words") == 2
    assert length_of("東 京", "characters") == 2
