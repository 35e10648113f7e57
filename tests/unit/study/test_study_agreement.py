"""Expected agreement of people, against what the authors of the curve say it is."""

from __future__ import annotations

import pytest

from tests.support.study_entries import rows, study
from training.study.agreement import _better, agreement_table, expected_agreement, plain_chrf
from training.study.axes import BASE, FULL
from training.study.results import Results


def test_the_curve_is_the_published_one() -> None:
    # README of mt-thresholds: BLEU 1.00 has 63.989 %, and chrF needs 0.710 for the same.
    assert expected_agreement(0.710) == pytest.approx(63.989, abs=0.05)
    assert expected_agreement(-0.710) == expected_agreement(0.710)
    assert expected_agreement(0.0) == 50.0
    assert expected_agreement(20.0) == pytest.approx(93.0, abs=0.01)


@pytest.mark.parametrize(
    ("whole", "plain", "named"),
    [
        (2.0, 1.5, "full fine-tuning"),
        (-2.0, -1.5, "lora"),
        (-0.4, 0.5, "no telling"),
        (0.1, 0.05, "no telling"),
    ],
)
def test_a_better_system_is_named_where_both_metrics_do(
    whole: float, plain: float, named: str
) -> None:
    assert _better(whole, plain, "lora") == named


def test_a_difference_that_people_see_is_told_from_one_they_do_not() -> None:
    made = rows(
        {
            ("small", "de-nl", BASE, None, 0): 30.0,
            ("small", "de-nl", FULL, None, 2000): 60.0,
            ("small", "de-nl", "bottleneck", 0.1, 2000): 57.0,
            ("small", "en-de", BASE, None, 0): 30.0,
            ("small", "en-de", FULL, None, 2000): 60.0,
            ("small", "en-de", "bottleneck", 0.1, 2000): 60.05,
        }
    )
    results = Results(made, {}, 50)
    for system in results.systems:
        # All orders of the made-up statistics have the same share of matches.
        assert plain_chrf(system) == pytest.approx(system.quality.value, abs=0.01)
    far, near = agreement_table(study(), results).rows
    assert far[1] == "de-nl"
    assert far[5] == f"{93 / (1 + 2.71828 ** (-1.11427 * float(far[4]))):.0f} %"
    assert far[6] == "full fine-tuning"
    assert near[6] in ("no telling", "bottleneck")
    assert int(near[5].split()[0]) < int(far[5].split()[0])
