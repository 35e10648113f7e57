"""What may join is steered by what joining took."""

from __future__ import annotations

import math

import pytest

from server.batching.pacing import LEAST_TOKENS, PLACING, SLICE, SLICES, Gathering, Pace


def run(pace: Pace, steps: int, fixed: float, per_token: float, step: float) -> list[float]:
    """Encode pass after pass of all that is allowed, slice by slice, at these prices.

    Returns:
        The seconds that each slice took.
    """
    slices = []
    while len(slices) < steps:
        tokens = pace.allowance().tokens
        left = price = fixed + per_token * tokens
        while left > 1e-9:
            own = min(left, pace.slice_seconds(0.0))
            left -= own
            slices.append(own)
            pace.note_step(tokens * own / price, own, step)
    return slices


@pytest.mark.parametrize("step", [0.05, 0.02])
def test_a_pass_ends_within_its_slices_and_none_holds_a_step_up_for_longer_than_one(
    step: float,
) -> None:
    pace = Pace(step_seconds=0.03)
    slices = run(pace, 200, fixed=0.01, per_token=0.0001, step=step)
    assert pace.step_seconds == pytest.approx(step, rel=0.01)
    assert max(slices[50:]) <= SLICE * step * 1.01
    taken = 0.01 + 0.0001 * pace.allowance().tokens
    assert taken == pytest.approx(SLICES * SLICE * step, rel=0.05)


def test_placing_leaves_less_for_the_slice_behind_it() -> None:
    pace = Pace(step_seconds=0.05)
    assert pace.slice_seconds(0.0) == pytest.approx(0.035)
    assert pace.slice_seconds(0.01) == pytest.approx(0.025)
    assert pace.slice_seconds(1.0) == 0.0


def test_before_the_first_step_nothing_is_held_up() -> None:
    assert Pace().slice_seconds(0.0) == math.inf
    assert Pace().allowance().tokens == LEAST_TOKENS


def test_it_never_stops_all_joining() -> None:
    pace = Pace()
    for _ in range(20):
        pace.note_step(LEAST_TOKENS, 64.0, 0.01)
    assert pace.allowance().tokens == LEAST_TOKENS


def test_bytes_are_what_a_step_pays_for() -> None:
    pace = Pace()
    for _ in range(60):
        pace.note_step(0, 0.0, 0.06)
        pace.note_placement(4_000_000, 0.003)
    # 20 placements of 3 ms in a step
    assert pace.allowance().nbytes == pytest.approx(PLACING * 80_000_000, rel=0.01)


def test_reports_without_times_teach_nothing() -> None:
    pace = Pace()
    pace.note_step(100, 0.0, 0.0)
    pace.note_placement(0, 0.0)
    assert pace == Pace()


def test_requests_join_a_full_batch_together() -> None:
    gathering = Gathering(max_rows=64)
    assert gathering.ready(running=0)
    gathering.joined()
    assert [gathering.ready(running=60) for _ in range(5)] == [False, False, False, True, True]
    gathering.joined()
    assert gathering.ready(running=32)  # half empty: nobody waits for company


def test_a_small_batch_never_waits() -> None:
    gathering = Gathering(max_rows=8)
    gathering.joined()
    assert gathering.ready(running=8)
