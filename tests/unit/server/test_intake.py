"""What calls that are still being prepared mean for those that come after them."""

from __future__ import annotations

import pytest

from hub.errors import DeadlineUnreachableError
from server.batching.forecast import LEAST_AFTER_SECONDS, LEAST_BEFORE_SECONDS
from server.batching.intake import Intake
from server.messages import Job, Search

STEP = 0.01


def job(key: int, tokens: int = 4) -> Job:
    return Job(key, "", tuple(range(tokens)), (9,), Search(1, 60, 1.0, 1))


def known() -> Intake:
    """Return an intake that has seen a text of four characters take ten steps, eight at a time."""
    intake = Intake(100, 8, lambda: 0.0)
    for _ in range(1000):
        intake.forecast.note_turn(8, STEP, 1)
    intake.forecast.note_finished(job(1), 10, cut=False)
    intake.forecast.note_source(4, 4)
    return intake


def estimate(intake: Intake, deadline: float = 0.001) -> float:
    """Return the milliseconds that a call of one text is told that it would take."""
    with pytest.raises(DeadlineUnreachableError) as caught:
        intake.reserve(1, 4, deadline=deadline)
    return float(caught.value.metadata["estimated_ms"])


def test_calls_that_are_being_prepared_are_ahead() -> None:
    intake = known()
    with intake.reserve(1, 4):
        alone = estimate(intake)
        outside = LEAST_BEFORE_SECONDS + LEAST_AFTER_SECONDS
        assert alone == pytest.approx(1000 * (10 * STEP + outside), rel=0.05)  # due later: behind
    with intake.reserve(80, 320, deadline=0.5):  # alone: tried
        # 80 texts of ten steps, 8 rows in 10 ms: a second; then its own 0.1 s.
        assert estimate(intake, deadline=0.9) == pytest.approx(1100, rel=0.1)
        intake.reserve(1, 4, deadline=0.4)  # due before them: nobody is ahead


def test_a_storm_of_calls_at_an_idle_engine_is_not_let_in_as_a_whole() -> None:
    intake, inside = known(), 0
    for _ in range(100):
        try:
            intake.reserve(1, 4, deadline=0.25)
        except DeadlineUnreachableError:
            break
        inside += 1
    # In 0.25 s of ten steps of 10 ms, eight at a time, there is room for 2 batches and the own one.
    assert 8 <= inside <= 24


def test_what_is_spent_outside_of_the_engine_counts_against_the_deadline() -> None:
    intake = known()
    with intake.reserve(1, 4):
        before = estimate(intake)
        for _ in range(100):
            intake.note_call(0.3, 0.2)
        assert estimate(intake) == pytest.approx(before + 500, rel=0.05)
        for _ in range(100):
            intake.note_call(0.0, -1.0)  # a clock may be read in any order
        assert estimate(intake) == pytest.approx(before, rel=0.05)
