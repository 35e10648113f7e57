"""Golden lines of a canary and of the version in use: is the canary worse by more than chance?"""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test

from hub.chrf import chrf
from server.quality.golden.comparing import ALPHA, MARGIN, Comparison, compare, p_of
from server.quality.golden.findings import GoldenFindings

differences = st.lists(st.integers(-40, 40).map(float), max_size=9)


@pytest.mark.parametrize(
    ("found", "p"),
    [
        ([], 1.0),
        ([0.0, 0.0], 1.0),
        ([-1.0], 1 / 2),
        ([5.0], 1.0),
        ([-1.0, -2.0, -4.0, 0.0], 1 / 8),
        ([1.0, -2.0, -4.0], 2 / 8),  # -5 and -7 of the eight sums
        ([-3.0] * 7, 1 / 128),
    ],
)
def test_p_values_by_hand(found: list[float], p: float) -> None:
    assert p_of(found) == p


@given(found=differences)
def test_the_p_value_is_the_share_of_throws(found: list[float]) -> None:
    signs = itertools.product((1, -1), repeat=len(found))
    sums = [sum(s * one for s, one in zip(thrown, found, strict=True)) for thrown in signs]
    assert p_of(found) == pytest.approx(sum(one <= sum(found) for one in sums) / len(sums))


def test_many_lines_are_thrown_at_random_and_agree_with_scipy() -> None:
    chance = np.random.default_rng(3)
    found = chance.normal(-3, 9, 40)
    expected = permutation_test(
        (found,), np.sum, permutation_type="samples", alternative="less", n_resamples=20_000, rng=1
    ).pvalue
    assert p_of(list(found)) == pytest.approx(expected, abs=0.01)
    assert p_of([-1.0] * 60) == pytest.approx(1e-4)


def test_a_canary_that_is_no_worse_is_rarely_found_to_be() -> None:
    """Lines where one or the other wins by chance alone, most of them unchanged."""
    chance = random.Random(5)
    found = [
        [chance.choice((0, 0, 1, -1)) * chance.expovariate(0.1) for _ in range(32)]
        for _ in range(200)
    ]
    wrong = sum(p_of(one) <= ALPHA for one in found)
    assert wrong <= 200 * ALPHA + 6  # 4 deviations


REFERENCES = [f"line {word} of the golden ones" for word in "abcdefghijklmnop"]
BROKEN = [text.replace("golden", "green") for text in REFERENCES]


def test_the_same_translations_are_no_worse() -> None:
    same = compare(REFERENCES, BROKEN, BROKEN)
    assert (same.p, same.worse, same.lines) == (1.0, False, len(REFERENCES))
    assert same.stable == same.tried == chrf(BROKEN, REFERENCES)


def test_a_loss_on_most_lines_is_found_and_a_gain_is_none() -> None:
    tried = [*REFERENCES[:6], *BROKEN[6:]]
    worse = compare(REFERENCES, REFERENCES, tried)
    assert worse.stable == 100
    assert worse.tried == chrf(tried, REFERENCES)
    assert worse.p == 2**-10
    assert worse.worse
    assert str(worse).startswith("chrF++ of 16 golden lines is ")
    assert not compare(REFERENCES, tried, REFERENCES).worse


def test_a_loss_on_a_few_lines_may_be_chance() -> None:
    tried = [*REFERENCES[:12], *BROKEN[12:]]
    few = compare(REFERENCES, REFERENCES, tried)
    assert few.stable - few.tried > MARGIN
    assert not few.worse


def test_a_small_loss_is_within_the_margin_whatever_its_p_value() -> None:
    assert not Comparison(50.0, 50.0 - MARGIN, 1e-4, 32).worse
    assert Comparison(50.0, 49.9 - MARGIN, 1e-4, 32).worse


def test_findings_are_pending_where_lines_are_looked_at() -> None:
    findings = GoldenFindings(looking=True)
    assert findings.of(1) == "pending"
    assert GoldenFindings(looking=False).of(1) == "none"
    findings.put(1, "none")
    findings.put(2, "none")
    findings.keep({2})
    assert (findings.of(1), findings.of(2)) == ("pending", "none")
