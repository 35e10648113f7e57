"""Claims on systems whose quality is known because it was made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.study_entries import rows, study
from training.study.axes import BASE, FULL
from training.study.claims import Claim, judge
from training.study.results import Results

RESAMPLES = 500
DISTANCES = {"de-nl": 0.28, "en-de": 0.40, "en-ko": 0.53}
SIX = {"de-nl": 0.28, "fr-nl": 0.34, "en-de": 0.40, "en-nl": 0.45, "ja-ko": 0.49, "en-ko": 0.53}
Quality = dict[tuple[str, str, str, float | None, int], float]


def grid(
    *,
    adapter: dict[str, float],
    least: dict[str, float] | None = None,
    little: float = 40.0,
    large: float = 75.0,
) -> Quality:
    """Two bases; full fine-tuning has 60 on the small one, with little data 35."""
    found: Quality = {}
    for pair, quality in adapter.items():
        lower = (least or {}).get(pair, quality)
        found |= {
            ("small", pair, BASE, None, 0): 30.0,
            ("small", pair, FULL, None, 2000): 60.0,
            ("small", pair, FULL, None, 200): 35.0,
            ("small", pair, "bottleneck", 0.1, 2000): quality,
            ("small", pair, "bottleneck", 0.01, 2000): lower,
            ("small", pair, "bottleneck", 0.1, 200): little,
            ("large", pair, BASE, None, 0): 45.0,
            ("large", pair, FULL, None, 2000): 80.0,
            ("large", pair, "bottleneck", 0.1, 2000): large,
        }
    return found


def judged(qualities: Quality, seeds: tuple[int, ...] = (1, 2, 3)) -> dict[tuple[str, str], Claim]:
    results = Results(rows(qualities, seeds), SIX, RESAMPLES)
    made = study(pairs=list(dict.fromkeys(pair for _, pair, *_ in qualities)))
    return {(claim.letter, claim.about): claim for claim in judge(made, results)}


PAIRS = tuple(DISTANCES)


def test_equal_quality_is_on_par_and_a_large_gap_is_not() -> None:
    found = judged(grid(adapter=dict.fromkeys(PAIRS, 60.0)))
    assert found["a", "small"].verdict == "supported"
    assert found["a", "large"].verdict == "not supported"
    part = found["a", "large"].parts[0]
    assert part.estimate.value == pytest.approx(-5.0, abs=0.5)
    assert part.estimate.interval()[1] < -1


def test_a_gap_near_the_margin_is_undecided() -> None:
    found = judged(grid(adapter=dict.fromkeys(PAIRS, 59.0)))
    assert found["a", "small"].verdict == "undecided"


def dropping(drops: list[float]) -> Quality:
    """The largest budget has 60 on every pair, the smallest less, from close pairs to distant."""
    pairs = tuple(SIX) if len(drops) == len(SIX) else PAIRS
    least = {pair: 60.0 - drop for pair, drop in zip(pairs, drops, strict=True)}
    return grid(adapter=dict.fromkeys(pairs, 60.0), least=least)


@pytest.mark.parametrize(
    ("drops", "verdict"),
    [
        ([2.0, 4.5, 5.5, 7.8, 8.8, 10.4], "supported"),
        ([6.0, 6.0, 6.0, 6.0, 6.0, 6.0], "not supported"),
        ([10.0, 8.2, 7.0, 4.6, 3.0, 2.2], "not supported"),
        # It grows by the slope, and pairs lie anywhere around it, however exactly each is known.
        ([6.0, 1.0, 9.0, 3.0, 11.0, 6.0], "undecided"),
        ([2.0, 9.0, 8.0], "undecided"),
    ],
)
def test_a_drop_must_grow_with_distance_beyond_the_scatter_of_pairs(
    drops: list[float], verdict: str
) -> None:
    claim = judged(dropping(drops))["b", "small"]
    assert claim.verdict == verdict
    assert claim.parts[1].estimate.freedom == len(drops) - 2


def test_pairs_that_differ_both_ways_are_told_beside_their_mean() -> None:
    claim = judged(grid(adapter={"de-nl": 66.0, "en-de": 60.0, "en-ko": 54.0}))["a", "small"]
    assert claim.parts[0].estimate.value == pytest.approx(0, abs=0.3)
    assert claim.parts[0].by_pair["en-ko"] == pytest.approx(-6, abs=0.5)
    assert "en-ko -" in claim.sentence
    assert "de-nl +" in claim.sentence


def test_what_could_be_seen_is_at_the_level_of_the_family() -> None:
    found = judged(grid(adapter=dict.fromkeys(PAIRS, 60.0)))
    tested = [claim for claim in found.values() if claim.p_value is not None]
    part = found["d", "small"].parts[0]
    level = 0.05 / len(tested)
    assert part.visible == pytest.approx(part.estimate.visible(level, 0.8))
    assert part.visible > 1.1 * part.estimate.visible(0.05, 0.8)


def test_a_refutation_is_adjusted_for_the_number_of_claims() -> None:
    found = judged(grid(adapter=dict.fromkeys(PAIRS, 60.0)))
    refuted = [claim for claim in found.values() if claim.verdict == "not supported"]
    assert refuted
    for claim in refuted:
        assert claim.against is not None
        assert min(part.p_against for part in claim.parts) <= claim.against < 0.05


def test_seeds_that_were_given_up_take_their_system_along() -> None:
    """The mean of the seeds that went well is not the system's."""
    made = rows({("small", "de-nl", FULL, None, 2000): 60.0, ("small", "de-nl", BASE, None, 0): 30})
    assert any(system.method == FULL for system in Results(made, DISTANCES, 50).systems)
    lost = [
        replace(row, state="stopped", facts={}) if row.cell.point.seed == 2 else row for row in made
    ]
    assert [system.method for system in Results(lost, DISTANCES, 50).systems] == [BASE]


def test_the_larger_base_is_held_against_the_smaller_ones_full_fine_tuning() -> None:
    better = judged(grid(adapter=dict.fromkeys(PAIRS, 60.0), large=75.0))
    assert better["c", "large over small"].verdict == "supported"
    assert better["c", "large over small"].parts[0].estimate.value == pytest.approx(15, abs=0.5)
    worse = judged(grid(adapter=dict.fromkeys(PAIRS, 60.0), large=50.0))
    assert worse["c", "large over small"].verdict == "not supported"


def test_little_data_is_the_smallest_size() -> None:
    found = judged(grid(adapter=dict.fromkeys(PAIRS, 60.0), little=40.0))
    assert found["d", "small"].verdict == "supported"
    assert found["d", "small"].parts[0].estimate.value == pytest.approx(5, abs=0.5)
    worse = judged(grid(adapter=dict.fromkeys(PAIRS, 60.0), little=30.0))
    assert worse["d", "small"].verdict == "not supported"


def test_one_seed_decides_nothing() -> None:
    found = judged(grid(adapter=dict.fromkeys(PAIRS, 60.0)), seeds=(1,))
    assert {claim.verdict for claim in found.values()} == {"undecided"}
    assert "one seed" in found["a", "small"].why


def test_a_grid_without_what_a_claim_needs_says_so() -> None:
    found = judged({("small", "de-nl", BASE, None, 0): 30.0})
    assert {claim.verdict for claim in found.values()} == {"undecided"}
    assert "no pair has finished cells" in found["a", "small"].why
    assert ("c", "large over small") not in found


def test_adjusted_p_values_are_never_below_the_plain_ones() -> None:
    found = judged(grid(adapter=dict.fromkeys(PAIRS, 60.0)))
    tested = [claim for claim in found.values() if claim.p_value is not None]
    assert len(tested) >= 4
    for claim in tested:
        assert claim.adjusted is not None
        assert claim.p_value is not None
        assert claim.adjusted >= claim.p_value
        assert claim.verdict in claim.sentence
