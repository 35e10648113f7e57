"""The statistics against sacreBLEU, statsmodels, scipy and arithmetic by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sacrebleu.metrics.chrf import CHRF
from scipy.stats import linregress, norm, t, ttest_ind
from statsmodels.stats.multitest import multipletests

from tests.support.study_entries import statistics
from training.study.crossover import crossing
from training.study.estimate import (
    Estimate,
    SeedChance,
    combine,
    difference,
    holm,
    mean_of,
    slope_of,
)
from training.study.resampling import CHRF_KINDS, Resampler, chrf_of

NAMES = [f"item {index}" for index in range(500)]


def normal_estimate(mean: float, deviation: float) -> Estimate:
    """A quantity whose resamples are the quantiles of a normal distribution."""
    places = (np.arange(20_000) + 0.5) / 20_000
    return Estimate(mean, norm.ppf(places, mean, deviation), 3)


def test_chrf_of_sums_is_sacrebleus() -> None:
    hypotheses = ["the cat sat", "", "einundzwanzig", "two hours ago", "x"]
    references = ["the cat sat down", "nothing here", "einundzwanzig", "2 hours ago", "yy zz"]
    metric = CHRF(word_order=2, references=[references])
    found = np.array(metric._extract_corpus_statistics(hypotheses, None), dtype=float)
    plain = CHRF(references=[references])
    letters = np.array(plain._extract_corpus_statistics(hypotheses, None), dtype=float)
    assert np.array_equal(found[:, :CHRF_KINDS], letters)
    for part in ([0, 1, 2, 3, 4], [0], [1], [4], [2, 2, 3]):
        total = found[part].sum(axis=0)
        expected = metric._compute_score_from_stats(list(total)).score
        assert chrf_of(total) == pytest.approx(expected, abs=1e-9)
    both = chrf_of(np.stack([found[0], found[2]]))
    assert both[1] == pytest.approx(100.0)
    assert both[0] < 100


@pytest.mark.parametrize(
    "p_values",
    [[0.01, 0.04, 0.03, 0.005], [0.5], [0.2, 0.2, 0.01], [0.9, 0.8, 0.0001, 0.04, 0.04]],
)
def test_holm_is_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(list(expected))


def test_holm_of_nothing() -> None:
    assert holm([]) == []


def test_p_values_of_a_normal_quantity_are_the_z_tests() -> None:
    found = normal_estimate(1.2, 0.5)
    assert found.p_above() == pytest.approx(norm.cdf(0, 1.2, 0.5), abs=1e-3)
    assert found.p_differs() == pytest.approx(2 * norm.sf(1.2 / 0.5), abs=2e-3)
    # Two one-sided tests (Schuirmann 1987): the worse of the two sides counts.
    assert found.p_within(2.0) == pytest.approx(norm.sf((2.0 - 1.2) / 0.5), abs=1e-3)
    assert found.interval() == pytest.approx((1.2 - 1.96 * 0.5, 1.2 + 1.96 * 0.5), abs=1e-2)


def test_no_p_value_is_zero() -> None:
    assert normal_estimate(100.0, 0.1).p_above() == pytest.approx(1 / 20_001)


def test_the_slope_is_least_squares() -> None:
    places, heights = [0.27, 0.40, 0.53, 0.64], [1.0, 2.5, 2.0, 4.5]
    parts = [normal_estimate(height, 0.1) for height in heights]
    assert slope_of(parts, places).value == pytest.approx(linregress(places, heights).slope)
    for few in ([0.3, 0.3, 0.3], [0.2, 0.3]):
        with pytest.raises(ValueError, match="three places"):
            slope_of(parts[: len(few)], few)


def test_a_slope_is_no_surer_than_its_pairs_are_near_the_line() -> None:
    """Each pair is known to a hundredth, and yet their scatter is all there is to go by."""
    places, heights = [0.27, 0.40, 0.53, 0.64], [1.0, 2.5, 2.0, 4.5]
    slope = slope_of([normal_estimate(height, 0.01) for height in heights], places)
    line = linregress(places, heights)
    assert slope.deviation == pytest.approx(line.stderr, rel=0.02)
    assert slope.freedom == 2
    assert slope.p_differs() == pytest.approx(line.pvalue, rel=0.05)


def test_smallest_visible_effect_is_the_textbooks() -> None:
    found = normal_estimate(0.0, 2.0)
    # 1.960 + 0.842 standard errors for 5 % two-sided at 80 % power.
    assert found.visible(0.05, 0.8) == pytest.approx(2 * (1.959964 + 0.841621), rel=1e-3)
    few = Estimate(0.0, found.draws, 3, {"one": SeedChance(1.0, 4.0, 2)})
    expected = 2 * (t.isf(0.025, 2) + t.isf(0.2, 2))
    assert few.visible(0.05, 0.8) == pytest.approx(expected, rel=2e-3)


def seeded(rng: np.random.Generator, name: str, seeds: int) -> Estimate:
    """A system on items that are all alike, whose seeds scatter around 50 by 2."""
    shares = 60 * np.clip(rng.normal(0.5, 0.02, seeds), 0, 1)
    runs = [np.tile([60.0, 60.0, share] * 8, (4, 1)) for share in shares]
    return Resampler(resamples=300).estimate(name, NAMES[:4], runs, trained=True)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_few_seeds_do_not_make_equal_systems_differ(seeds: int) -> None:
    """Of 400 pairs of systems that are the same but for their seeds, 5 % may seem to differ."""
    rng = np.random.default_rng(11)
    wrong = sum(
        difference(seeded(rng, "one", seeds), seeded(rng, "two", seeds)).p_differs() < 0.05
        for _ in range(400)
    )
    # Three standard errors above 5 %; quantiles of the resamples come to 22, 12 and 9 % here.
    assert wrong / 400 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_the_seeds_of_a_system_are_the_same_wherever_it_stands() -> None:
    rng = np.random.default_rng(3)
    one, two, shared = (seeded(rng, name, 3) for name in ("one", "two", "shared"))
    both = mean_of([difference(one, shared), difference(two, shared)])
    assert both.by_system["shared"].weight == pytest.approx(-1.0)
    assert difference(one, one).deviation == 0
    assert difference(one, one).by_system["one"].share == 0


def test_freedom_is_welchs() -> None:
    """Two means of seeds with no other chance: Welch's test."""
    rng = np.random.default_rng(4)
    one, two = rng.normal(0.5, 0.02, 3), rng.normal(0.5, 0.05, 4)
    estimates = [
        Resampler(20_000).estimate(
            name, NAMES[:4], [np.tile([60.0, 60.0, 60 * s] * 8, (4, 1)) for s in shares],
            trained=True,
        )
        for name, shares in (("one", one), ("two", two))
    ]  # fmt: skip
    found = difference(*estimates)
    welch = ttest_ind(one, two, equal_var=False)
    assert found.freedom == pytest.approx(welch.df, rel=0.1)
    assert found.p_differs() == pytest.approx(welch.pvalue, rel=0.05)
    assert found.interval() == pytest.approx(
        [100 * end for end in welch.confidence_interval(0.95)], rel=0.05
    )


def test_an_item_of_two_pairs_is_drawn_into_both() -> None:
    """The mean over pairs that share their items is no surer than one of them."""
    resampler, run = Resampler(), [statistics(50.0, seed=1)]
    one, same, other = (
        resampler.estimate(name, items, run, trained=False)
        for name, items in (("a", NAMES[:120]), ("b", NAMES[:120]), ("c", NAMES[120:240]))
    )
    assert mean_of([one, same]).deviation == pytest.approx(one.deviation)
    assert mean_of([one, other]).deviation < 0.8 * one.deviation


def test_seeds_alone_give_the_unbiased_standard_error_of_their_mean() -> None:
    """Items that are all alike leave the seeds as the only source of chance."""
    shares = (30, 36, 45)
    runs = [np.tile([60, 60, share] * 8, (50, 1)).astype(float) for share in shares]
    found = Resampler(resamples=20_000).estimate("system", NAMES[:50], runs, trained=True)
    scores = [100 * share / 60 for share in shares]
    assert found.value == pytest.approx(np.mean(scores))
    expected = np.std(scores, ddof=1) / math.sqrt(3)
    assert found.deviation == pytest.approx(expected, rel=0.03)


def test_items_alone_give_the_standard_error_of_the_bootstrap() -> None:
    """Equal seeds leave the items as the only source of chance."""
    run = statistics(50.0, seed=1)
    share = run[:, 2] / run[:, 0]  # chrF++ of equal lengths is the share of matches
    found = Resampler(resamples=20_000).estimate(
        "system", NAMES[: len(run)], [run, run, run], trained=True
    )
    expected = 100 * share.std(ddof=0) / math.sqrt(len(run))
    assert found.deviation == pytest.approx(expected, rel=0.03)
    assert found.value == pytest.approx(100 * share.mean(), abs=0.01)


def test_systems_on_the_same_items_are_paired() -> None:
    """Hard items are hard for both, so their difference is surer than either."""
    resampler = Resampler()
    one, two = (
        resampler.estimate(name, NAMES[:120], [statistics(quality, seed)], trained=False)
        for name, quality, seed in (("one", 60.0, 1), ("two", 50.0, 2))
    )
    paired = difference(one, two)
    apart = math.hypot(one.deviation, two.deviation)
    assert paired.value == pytest.approx(10, abs=0.5)
    assert paired.deviation < 0.5 * apart


def test_the_same_names_draw_the_same() -> None:
    runs = [statistics(50.0, seed) for seed in (1, 2)]
    first, again = (Resampler().estimate("a", NAMES[:120], runs, trained=True) for _ in range(2))
    other = Resampler().estimate("b", NAMES[:120], runs, trained=True)
    assert np.array_equal(first.draws, again.draws)
    assert not np.array_equal(first.draws, other.draws)


def test_fewest_seeds_of_trained_parts_are_remembered() -> None:
    one, base = Estimate(1.0, np.zeros(3), 2), Estimate(0.0, np.zeros(3), 0)
    assert difference(one, base).seeds == 2
    assert mean_of([base, base]).seeds == 0
    assert combine([(1.0, one), (1.0, Estimate(0.0, np.zeros(3), 5))]).seeds == 2


def test_lines_cross_between_two_sizes() -> None:
    # From −1 at 100 to +1 at 10,000: zero half way on the logarithm, at 1,000.
    assert crossing([(100, -1.0), (10_000, 1.0)]) == pytest.approx(1000)
    assert crossing([(100, 1.0), (10_000, 2.0)]) is None
    assert crossing([(10, -1.0), (100, 1.0), (1000, -1.0)]) is None
