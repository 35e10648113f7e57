"""Advice from cells whose gaps follow a law that is known because it was made up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.study.advise import (
    COVERAGE,
    Case,
    Features,
    Model,
    half_width,
    left_out_errors,
    predict,
)

DISTANCES = {"de-nl": 0.28, "fr-nl": 0.37, "en-de": 0.40, "en-nl": 0.45, "en-ko": 0.53}


def features(
    distance: float, budget: float, segments: int = 2000, base_score: float = 50.0
) -> Features:
    return Features(budget, segments, distance, base_score, 9_000_000, 0.0)


def cases(noise: float = 0.0) -> list[Case]:
    """The gap is 2 − 3·log10(budget) − 10 + 20·distance, that is, it falls with the budget."""
    rng = np.random.default_rng(5)
    return [
        Case(
            pair,
            "bottleneck",
            features(distance, budget),
            -8 - 3 * math.log10(budget) + 20 * distance + noise * float(rng.normal()),
            (f"sha256:{pair}{budget}",),
        )
        for pair, distance in DISTANCES.items()
        for budget in (0.003, 0.01, 0.03, 0.1)
    ]


def test_a_law_that_is_linear_is_found() -> None:
    new = features(0.42, 0.02)
    found = predict(cases(), new)
    assert found is not None
    assert found.gap == pytest.approx(-8 - 3 * math.log10(0.02) + 20 * 0.42, abs=0.5)
    assert found.low <= found.gap <= found.high
    assert not found.outside


def test_errors_are_of_pairs_that_the_fit_has_not_seen() -> None:
    """One pair is unlike the others: only leaving it out shows that it is not foreseen."""
    strange = [
        case if case.pair != "en-de" else Case("en-de", "bottleneck", case.features, 40.0, ())
        for case in cases()
    ]
    errors = left_out_errors(strange)
    assert len(errors) == len(strange)
    assert max(map(abs, errors)) > 25
    model = Model(strange)
    seen = [abs(model.gap(case.features) - case.gap) for case in strange]
    assert max(seen) < max(map(abs, errors))


def test_two_pairs_are_too_few_to_know_the_error() -> None:
    few = [case for case in cases() if case.pair in ("de-nl", "en-ko")]
    assert left_out_errors(few) == []
    assert predict(few, features(0.4, 0.01)) is None


@pytest.mark.parametrize(
    ("new", "named"),
    [
        (features(0.9, 0.01), "distance 0.9, cells have 0.28 to 0.53"),
        (features(0.4, 0.9), "budget"),
        (features(0.4, 0.01, segments=2_000_000), "segments"),
        (features(0.4, 0.01, base_score=5.0), "base chrF"),
    ],
)
def test_what_lies_outside_of_the_cells_is_named(new: Features, named: str) -> None:
    found = predict(cases(0.3), new)
    assert found is not None
    assert any(named in text for text in found.outside)


def test_the_interval_covers_its_share_of_the_errors() -> None:
    errors = left_out_errors(cases(noise=1.0))
    width = half_width(errors)
    inside = sum(abs(error) <= width for error in errors) / len(errors)
    assert COVERAGE <= inside <= 1.0


def test_the_half_width_is_the_conformal_quantile() -> None:
    # Nineteen errors 1…19: the ceil(20 · 0.9) = 18th smallest; of nine the largest.
    assert half_width([float(size) for size in range(1, 20)]) == 18
    assert half_width([-3.0, 1.0, 2.0]) == 3
