"""Advice from cells whose gaps follow a law that is known because it was made up."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from scipy.stats import t

from training.defaults import SMALL
from training.study.advice import Question, _command, _most
from training.study.advise import (
    BASE_SCORE,
    BUDGET,
    DISTANCE,
    Case,
    Features,
    Model,
    chosen,
    half_width,
    left_out_errors,
    mean_errors,
    predict,
)

DISTANCES = {"de-nl": 0.28, "fr-nl": 0.37, "en-de": 0.40, "en-nl": 0.45, "en-ko": 0.53}
THREE = ("de-nl", "en-de", "en-ko")


def features(
    distance: float, budget: float, segments: int = 2000, base_score: float = 50.0
) -> Features:
    return Features(budget, segments, distance, base_score, 9_000_000, 0.0)


def cases(noise: float = 0.0, of_pairs: float = 0.0, seed: int = 5) -> list[Case]:
    """The gap is 2 − 3·log10(budget) − 10 + 20·distance, that is, it falls with the budget.

    Args:
        noise: Of each case.
        of_pairs: Of each pair, the same for all of its cases; no feature tells it.
        seed: Of both.
    """
    rng = np.random.default_rng(seed)
    own = {pair: of_pairs * float(rng.normal()) for pair in DISTANCES}
    return [
        Case(
            pair,
            "bottleneck",
            features(distance, budget, base_score=50 + 10 * math.sin(distance * 99)),
            -8 - 3 * math.log10(budget) + 20 * distance + own[pair] + noise * float(rng.normal()),
            (f"sha256:{pair}{budget}",),
        )
        for pair, distance in DISTANCES.items()
        for budget in (0.003, 0.01, 0.03, 0.1)
    ]


def error(by_pair: dict[str, list[float]]) -> float:
    return math.sqrt(fmean(each**2 for errors in by_pair.values() for each in errors))


def test_a_law_that_is_linear_is_found() -> None:
    new = features(0.42, 0.02)
    found = predict(cases(), new)
    assert found is not None
    assert found.gap == pytest.approx(-8 - 3 * math.log10(0.02) + 20 * 0.42, abs=0.5)
    assert found.low <= found.gap <= found.high
    assert not found.why_not
    assert DISTANCE in chosen(cases())


def test_three_pairs_bear_the_budget_and_beat_the_mean() -> None:
    """What is a pair's alone cannot be learnt from two others; what the budget does can."""
    for seed in range(20):
        few = [each for each in cases(0.3, of_pairs=1.0, seed=seed) if each.pair in THREE]
        errors = left_out_errors(few)
        assert BUDGET in chosen(few)
        assert error(errors) < error(mean_errors(few))


def test_the_choice_of_features_does_better_than_all_of_them_on_few_pairs() -> None:
    every = tuple(features(0.4, 0.1).numbers())
    of_choice, of_all = [], []
    for seed in range(20):
        few = [each for each in cases(0.3, of_pairs=3.0, seed=seed) if each.pair in THREE]
        of_choice.append(error(left_out_errors(few)))
        for pair in THREE:
            model = Model([each for each in few if each.pair != pair], every)
            of_all += [(model.gap(e.features) - e.gap) ** 2 for e in few if e.pair == pair]
    assert math.sqrt(fmean(each**2 for each in of_choice)) < math.sqrt(fmean(of_all))


def test_what_is_no_better_than_the_mean_does_not_answer() -> None:
    """One budget and gaps that nothing explains: only the mean is left."""
    rng = np.random.default_rng(9)
    lost = [
        replace(case, gap=float(rng.normal(3, 2)))
        for case in cases()
        if case.features.budget == 0.1
    ]
    found = predict(lost, features(0.4, 0.1))
    assert found is not None
    assert "and the mean of the others by" in found.why_not[0]


def test_errors_are_of_pairs_that_the_fit_has_not_seen() -> None:
    """One pair is unlike the others: only leaving it out shows that it is not foreseen."""
    strange = [case if case.pair != "en-de" else replace(case, gap=40.0) for case in cases()]
    errors = left_out_errors(strange)
    assert {pair: len(own) for pair, own in errors.items()} == dict.fromkeys(DISTANCES, 4)
    assert min(map(abs, errors["en-de"])) > 25
    model = Model(strange, chosen(strange))
    seen = [abs(model.gap(case.features) - case.gap) for case in strange if case.pair == "en-de"]
    assert max(seen) < max(map(abs, errors["en-de"]))


def test_two_pairs_are_too_few_to_know_the_error() -> None:
    few = [case for case in cases() if case.pair in ("de-nl", "en-ko")]
    assert left_out_errors(few) == {}
    assert predict(few, features(0.4, 0.01)) is None


@pytest.mark.parametrize(
    ("new", "named"),
    [
        (features(0.9, 0.01), "distance 0.9, cells have 0.28 to 0.53"),
        (features(0.4, 0.9), "budget 0.9, cells have 0.003 to 0.1"),
        (features(0.4, 0.01, segments=2_000_000), "segments 2,000,000, cells have 2,000 to 2,000"),
        (features(0.4, 0.01, base_score=5.0), BASE_SCORE),
    ],
)
def test_what_lies_outside_of_the_cells_is_named(new: Features, named: str) -> None:
    found = predict(cases(0.3), new)
    assert found is not None
    assert any(named in text for text in found.why_not)


def test_the_interval_is_students_for_a_new_pair() -> None:
    errors = {"de-nl": [2.0, -2.0], "en-de": [1.0, 1.0, 1.0], "en-ko": [-3.0]}
    scatter = math.sqrt((4 + 1 + 9) / 3)
    assert half_width(errors) == pytest.approx(t.isf(0.05, 2) * scatter)
    more_cells = {pair: own * 10 for pair, own in errors.items()}
    assert half_width(more_cells) == pytest.approx(half_width(errors))


def test_the_interval_holds_new_pairs_as_often_as_it_says() -> None:
    """Quantiles over the cells of three pairs would hold 60 to 75 % of new pairs."""
    rng = np.random.default_rng(2)
    inside = []
    for _ in range(2000):
        *known, new = rng.normal(0, 1.5, 4)
        others = {str(i): [sum(known[:i] + known[i + 1 :]) / 2 - known[i]] * 6 for i in range(3)}
        inside.append(abs(fmean(known) - new) <= half_width(others))
    assert fmean(inside) >= 0.9


def test_as_much_of_cldr_is_asked_about_as_the_studies_have() -> None:
    """It has no end, and what `hub train` takes of it may be more than any cell had."""
    known = [*cases(), replace(cases()[0], features=features(0.3, 0.1, segments=8000))]
    files = [replace(each, features=replace(each.features, text="files")) for each in known]
    asked = Question("en-de", ("cldr",), "embedded", Path(), 1.0)
    assert _most(asked, known) == 8000
    assert _most(asked, files) == SMALL.train
    assert _most(replace(asked, train=300), known) == 300
    assert _most(replace(asked, data=("corpus.tsv",)), known) is None
    command = _command(replace(asked, train=8000), "lora targets=attention", 0.01)
    assert command == (
        "hub train --pair en-de --train 8000 --base embedded --method lora --targets attention "
        "--budget 0.01"
    )
