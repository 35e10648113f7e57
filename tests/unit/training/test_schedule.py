"""Learning rates by hand arithmetic."""

from __future__ import annotations

import math

import pytest

from training.loop.schedule import SCHEDULES, learning_rate


def rate(step: int, schedule: str, warmup: int = 10, max_updates: int = 110) -> float:
    return learning_rate(step, peak=2.0, schedule=schedule, warmup=warmup, max_updates=max_updates)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warms_up_linearly_to_the_peak(schedule: str) -> None:
    assert rate(1, schedule) == pytest.approx(0.2)
    assert rate(5, schedule) == pytest.approx(1.0)
    assert rate(10, schedule) == pytest.approx(2.0)


def test_declines_as_named() -> None:
    assert rate(40, "inverse-sqrt") == pytest.approx(2.0 * math.sqrt(10 / 40))
    assert rate(60, "cosine") == pytest.approx(1.0)
    assert rate(60, "linear") == pytest.approx(1.0)
    assert rate(35, "cosine") == pytest.approx(1.0 + math.cos(math.pi / 4))
    assert rate(110, "cosine") == pytest.approx(0.0)
    assert rate(110, "linear") == 0.0
    assert rate(110, "constant") == 2.0


def test_no_warmup_starts_at_the_peak() -> None:
    assert rate(1, "constant", warmup=0) == 2.0
    assert rate(1, "inverse-sqrt", warmup=0) == pytest.approx(2.0)


def test_unknown_schedule() -> None:
    with pytest.raises(ValueError, match="known are inverse-sqrt"):
        rate(1, "step")
