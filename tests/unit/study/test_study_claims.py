"""Claims on systems whose quality is known because it was made up."""

from __future__ import annotations

import pytest

from tests.support.study_entries import rows, study
from training.study.axes import BASE, FULL
from training.study.claims import Claim, judge
from training.study.results import Results

RESAMPLES = 500
DISTANCES = {"de-nl": 0.28, "en-de": 0.40, "en-ko": 0.53}
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
    results = Results(rows(qualities, seeds), DISTANCES, RESAMPLES)
    return {(claim.letter, claim.about): claim for claim in judge(study(), results)}


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


def test_a_drop_that_grows_with_distance_supports_b() -> None:
    most = dict.fromkeys(PAIRS, 60.0)
    growing = judged(grid(adapter=most, least={"de-nl": 58.0, "en-de": 54.0, "en-ko": 50.0}))
    assert growing["b", "small"].verdict == "supported"
    even = judged(grid(adapter=most, least=dict.fromkeys(PAIRS, 54.0)))
    assert even["b", "small"].verdict != "supported"
    reverse = judged(grid(adapter=most, least={"de-nl": 50.0, "en-de": 54.0, "en-ko": 58.0}))
    assert reverse["b", "small"].verdict == "not supported"


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
