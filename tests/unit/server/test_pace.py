"""What may join is steered by what joining took."""

from __future__ import annotations

import pytest

from server.pace import LEAST_TOKENS, Gathering, Pace


def run(pace: Pace, steps: int, fixed: float, per_token: float, step: float) -> list[int]:
    """Always encode all that is allowed, on a machine with these prices."""
    passes = []
    for _ in range(steps):
        tokens = int(pace.allowance().tokens)
        pace.note_step(tokens, fixed + per_token * tokens, step)
        passes.append(tokens)
    return passes


def test_the_allowance_settles_where_a_pass_takes_a_step() -> None:
    passes = run(Pace(), 60, fixed=0.01, per_token=0.0001, step=0.05)
    assert passes[0] == LEAST_TOKENS
    assert passes[-1] == pytest.approx(400, abs=40)  # 0.01 + 400 · 0.0001 = 0.05
    assert max(passes) <= 410


def test_it_comes_down_when_steps_get_shorter() -> None:
    pace = Pace()
    run(pace, 60, fixed=0.01, per_token=0.0001, step=0.05)
    passes = run(pace, 60, fixed=0.01, per_token=0.0001, step=0.02)
    assert passes[-1] == pytest.approx(100, abs=15)


def test_it_never_stops_all_joining() -> None:
    pace = Pace()
    run(pace, 20, fixed=1.0, per_token=1.0, step=0.01)
    assert pace.allowance().tokens == LEAST_TOKENS


def test_a_small_pass_says_nothing_against_a_large_one() -> None:
    pace = Pace(tokens=1000, step_seconds=0.05)
    pace.note_step(10, 0.02, 0.05)  # 2 ms a token, nearly all of it the fixed price
    assert pace.allowance().tokens == 1000


def test_bytes_are_what_a_step_pays_for() -> None:
    pace = Pace()
    for _ in range(60):
        pace.note_step(0, 0.0, 0.06)
        pace.note_placement(4_000_000, 0.003)
    assert pace.allowance().nbytes == pytest.approx(80_000_000, rel=0.01)  # 20 of 3 ms


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
