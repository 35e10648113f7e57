"""The test by betting: its bound on false rollbacks, and how soon it sees a worse version."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.registry.evidence import evidence_of, means_of
from server.quality.canary.betting import (
    ALPHA,
    STAKES,
    Side,
    Signal,
    keys,
    log_evidence,
    mean,
    observe,
    requests,
    sides_of,
)
from server.quality.canary.rules import SIGNALS, judge
from server.quality.golden.comparing import Comparison

from .canary_traffic import EQUAL, Traffic, simulate

SHARE = Signal("share", 0.0, 1.0, margin=0.02, guess=0.1, worse=(1,))
BOTH = Signal("both", -2.0, 2.0, margin=0.2, guess=0.0, worse=(-1, 1))

fractions = st.floats(0.001, 0.9)
signals = st.sampled_from([*SIGNALS, SHARE, BOTH])


@given(signal=signals, fraction=fractions, data=st.data())
def test_nobody_loses_more_than_the_stake(
    signal: Signal, fraction: float, data: st.DataObject
) -> None:
    inside = st.floats(signal.low, signal.high)
    value, guess = data.draw(inside), data.draw(inside)
    for side in sides_of((signal,)):
        for canary in (False, True):
            assert side.bet(value, guess, fraction, canary=canary) >= -1 - 1e-9


@given(signal=signals, fraction=fractions, data=st.data())
def test_a_bet_is_fair_where_the_canary_is_worse_by_just_the_margin(
    signal: Signal, fraction: float, data: st.DataObject
) -> None:
    """The expectation over the assignment, whatever the two outcomes and the guess."""
    inside = st.floats(signal.low, signal.high)
    stable, guess = data.draw(inside), data.draw(inside)
    for side in sides_of((signal,)):
        tried = stable - side.sign * signal.margin
        if not signal.low <= tried <= signal.high:
            continue
        expected = fraction * side.bet(tried, guess, fraction, canary=True) + (
            1 - fraction
        ) * side.bet(stable, guess, fraction, canary=False)
        assert expected == pytest.approx(0, abs=1e-7)


def test_a_bet_by_hand() -> None:
    """A quarter of the requests, a warning on the canary where 10 % were expected to have one."""
    side = Side(SHARE, -1)  # warnings are bad: y = -share
    difference = Fraction(-9, 10) / Fraction(1, 4)
    most = max(Fraction(1, 10) / Fraction(1, 4), Fraction(9, 10) / Fraction(3, 4))
    won = (Fraction(-2, 100) - difference) / (most + Fraction(2, 100))
    assert side.bet(1.0, 0.1, 0.25, canary=True) == pytest.approx(float(won))
    assert won > 2  # a stake of 0.45 doubles the capital


@given(
    data=st.lists(
        st.tuples(st.booleans(), st.floats(-4, 4), st.floats(-4, 4)), min_size=1, max_size=30
    ),
    cuts=st.lists(st.booleans(), min_size=30, max_size=30),
)
@settings(max_examples=50)
def test_servers_add_their_sums(data: list[tuple[bool, float, float]], cuts: list[bool]) -> None:
    """What is added in parts, in any grouping, is what one server would have."""
    pair = (SHARE, BOTH)
    whole: dict[str, float] = {}
    shared: dict[str, float] = {}
    unsent: dict[str, float] = {}
    for (canary, one, other), cut in zip(data, cuts, strict=False):
        values = {"share": one, "both": other}
        seen = {key: shared.get(key, 0.0) + unsent.get(key, 0.0) for key in keys(pair)}
        add(whole, observe(whole, pair, values, 0.3, canary=canary))
        add(unsent, observe(seen, pair, values, 0.3, canary=canary))
        if cut:
            add(shared, unsent)
            unsent = {}
    add(shared, unsent)
    assert shared == pytest.approx(whole, abs=1e-9)
    assert set(whole) <= set(keys(pair))


def add(sums: dict[str, float], more: dict[str, float]) -> None:
    for key, value in more.items():
        sums[key] = sums.get(key, 0.0) + value


def test_what_the_registry_reads_is_what_the_rules_read() -> None:
    sums: dict[str, float] = {}
    for number in range(40):
        values = {signal.name: signal.low for signal in SIGNALS if number % 3}
        add(sums, observe(sums, SIGNALS, values, 0.5, canary=number % 2 == 0))
    assert evidence_of(sums) == pytest.approx(log_evidence(sums, SIGNALS) / math.log(10))
    for signal in SIGNALS:
        assert means_of(sums, "canary")[signal.name] == mean(sums, signal, canary=True)
    assert (requests(sums, canary=True), requests(sums, canary=False)) == (20, 20)
    assert (evidence_of({}), means_of({}, "canary")) == (0.0, {})


def test_a_version_that_always_fails_goes_within_a_handful_of_requests() -> None:
    sums: dict[str, float] = {}
    served = 0
    for number in range(400):
        canary = number % 10 == 9
        served += canary
        add(sums, observe(sums, SIGNALS, {"failed": float(canary)}, 0.1, canary=canary))
        if judge(sums, 0).action == "roll back":
            break
    verdict = judge(sums, 0)
    assert verdict.action == "roll back"
    assert served <= 5
    assert verdict.reason.startswith("failed is 1, of the version in use 0, ")


def test_promotion_is_asked_for_and_comes_after_its_requests() -> None:
    sums = {"n.canary": 99.0, "n.stable": 900.0}
    assert judge(sums, 100).action == "wait"
    sums["n.canary"] = 100.0
    assert judge(sums, 0).action == "wait"
    assert judge(sums, 100).action == "promote"


LOST = Comparison(55.9, 50.8, 0.001, 32)
ALIKE = Comparison(55.9, 55.2, 0.3, 32)


def test_golden_lines_roll_back_without_any_request() -> None:
    verdict = judge({}, 0, golden=LOST)
    assert verdict.action == "roll back"
    assert verdict.reason == (
        "chrF++ of 32 golden lines is 50.8, of the version in use 55.9 (p = 0.001)"
    )
    assert judge({}, 0, golden=ALIKE).action == "wait"


def test_promotion_waits_for_golden_lines() -> None:
    sums = {"n.canary": 100.0, "n.stable": 900.0}
    assert judge(sums, 100, golden="pending").action == "wait"
    assert judge(sums, 100, golden=LOST).action == "roll back"
    assert judge(sums, 100, golden="none").action == "promote"
    promoted = judge(sums, 100, golden=ALIKE)
    assert promoted.action == "promote"
    assert promoted.reason.endswith(
        "chrF++ of 32 golden lines is 55.2, of the version in use 55.9 (p = 0.3)"
    )


def test_a_canary_that_is_worse_is_not_promoted_with_its_last_request() -> None:
    sums = dict.fromkeys(keys(SIGNALS), 0.0) | {"n.canary": 100.0, "n.stable": 900.0}
    places = len(STAKES) * len(sides_of(SIGNALS))  # the mean of all is 1 / alpha
    sums["log.failed.0"] = math.log(places / ALPHA - (places - 1)) + 1e-9
    assert judge(sums, 100).action == "roll back"
    sums["log.failed.0"] -= 1e-6
    assert judge(sums, 100).action == "promote"


def test_the_simulation_computes_what_the_rules_compute() -> None:
    """Request by request, on the same traffic."""
    run = simulate(EQUAL, requests=60, runs=3, fraction=0.3, seed=5)
    for one in range(3):
        sums: dict[str, float] = {}
        for number in range(60):
            values = {name: float(run.values[name][number, one]) for name in run.values}
            tried = bool(run.tried[number, one])
            add(sums, observe(sums, SIGNALS, values, 0.3, canary=tried))
            assert run.log_evidence[number, one] == pytest.approx(log_evidence(sums, SIGNALS))


@dataclass(frozen=True)
class Case:
    name: str
    traffic: Traffic
    fraction: float
    seed: int = 1


HARMLESS = [
    Case("equal", EQUAL, 0.1),
    Case("equal halves", EQUAL, 0.5),
    Case("at the margin of a signal", Traffic(log_probability=-0.1), 0.1),
    Case("at the margin of another", Traffic(warned=0.02, failed=0.01), 0.1),
    Case("traffic that drifts", Traffic(drift=1.0), 0.1),
    Case("traffic that jumps", Traffic(jump=True), 0.2),
    Case("better", Traffic(log_probability=0.1, warned=-0.01), 0.1),
]


def check_false_rollbacks(case: Case, runs: int, requests: int) -> None:
    """Looked at after every request; four deviations above alpha fail."""
    run = simulate(
        case.traffic, requests=requests, runs=runs, fraction=case.fraction, seed=case.seed
    )
    rolled_back = int((run.log_evidence.max(axis=0) >= -math.log(ALPHA)).sum())
    assert rolled_back <= runs * ALPHA + 4 * math.sqrt(runs * ALPHA)


@pytest.mark.parametrize("case", HARMLESS[:3], ids=lambda case: case.name)
def test_false_rollbacks_are_rare(case: Case) -> None:
    check_false_rollbacks(case, runs=400, requests=300)


@pytest.mark.slow
@pytest.mark.parametrize("case", HARMLESS, ids=lambda case: case.name)
def test_false_rollbacks_are_as_rare_as_promised(case: Case) -> None:
    check_false_rollbacks(case, runs=3000, requests=1000)


WORSE = [
    Case("unsure", Traffic(log_probability=-0.5), 0.1),
    Case("loops", Traffic(repetition=0.3, warned=0.3), 0.1),
    Case("fails", Traffic(failed=1.0), 0.1),
    Case("slow", Traffic(slowness=3.0), 0.1),
]


@pytest.mark.parametrize("case", WORSE, ids=lambda case: case.name)
def test_a_worse_version_is_seen_within_a_hundred_of_its_requests(case: Case) -> None:
    run = simulate(case.traffic, requests=900, runs=20, fraction=case.fraction, seed=case.seed)
    served = run.served_when(-math.log(ALPHA))
    assert np.isfinite(served).all()
    assert np.median(served) < 100


def test_a_test_that_peeks_at_a_bound_for_one_look_would_be_wrong() -> None:
    """The control: the usual z-test at 1 %, looked at after every request, fires far too often."""
    run = simulate(EQUAL, requests=400, runs=200, fraction=0.3, seed=3)
    value, arms = run.values["log_probability"], (run.tried, ~run.tried)
    numbers = [np.maximum(1, arm.cumsum(0)) for arm in arms]
    means = [(value * arm).cumsum(0) / number for arm, number in zip(arms, numbers, strict=True)]
    squares = [(value**2 * arm).cumsum(0) for arm in arms]
    spreads = [
        (square / number - mean**2) / number
        for square, number, mean in zip(squares, numbers, means, strict=True)
    ]
    from_the_40th = slice(40, None)
    off, spread = (means[0] - means[1])[from_the_40th], (spreads[0] + spreads[1])[from_the_40th]
    z = off / np.sqrt(spread)
    assert (z < -2.326).any(axis=0).mean() > 4 * ALPHA
