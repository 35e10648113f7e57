"""The forecast learns what it is shown, keeps its bounds, and never locks anybody out for good."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import DeadlineError, DeadlineUnreachableError, QueueFullError
from server.batching.forecast import Curve, Forecast, Rate, Running, left_of
from server.batching.intake import Intake
from server.messages import Job, Priority, Search

SIZES = st.floats(1, 1024)
COSTS = st.floats(1e-4, 10)


def job_of(
    key: int,
    tokens: int = 8,
    *,
    deadline: float | None = None,
    tenant: str = "",
    priority: Priority = Priority.INTERACTIVE,
) -> Job:
    return Job(
        key=key,
        digest="",
        source_ids=tuple(range(tokens)),
        prefix_ids=(),
        search=Search(1, 500, 1.0, 1),
        deadline=deadline,
        tenant=tenant,
        priority=priority,
    )


@given(st.lists(st.tuples(SIZES, COSTS), min_size=1, max_size=40), SIZES)
def test_a_curve_stays_within_what_it_was_shown(
    seen: list[tuple[float, float]], size: float
) -> None:
    curve = Curve()
    for one, cost in seen:
        curve.note(one, cost)
    costs = [cost for _, cost in seen]
    assert 0 < curve.mean(size) <= max(costs) * (1 + 1e-9)
    assert 0 <= curve.deviation(size) <= max(costs)


@given(st.lists(SIZES, min_size=1, max_size=30), COSTS, SIZES)
def test_a_curve_of_a_constant_is_the_constant(
    sizes: list[float], cost: float, size: float
) -> None:
    curve = Curve()
    for one in sizes:
        curve.note(one, cost)
    assert curve.mean(size) == pytest.approx(cost)


@given(st.floats(0.001, 1), st.floats(0.001, 0.1))
def test_a_curve_learns_a_line(offset: float, slope: float) -> None:
    curve = Curve()
    for _ in range(60):
        for size in (1, 2, 4, 8, 16, 32, 64):
            curve.note(size, offset + slope * size)
    for size in (3, 6, 24, 48):
        assert curve.mean(size) == pytest.approx(offset + slope * size, rel=1e-6)


def test_an_old_bad_observation_is_bounded_by_its_neighbours() -> None:
    """A first step of 64 rows took a minute; steps of 2 take 10 ms: 64 cannot take over 320 ms."""
    curve = Curve()
    curve.note(64, 60.0)
    assert curve.mean(64) == 60.0
    curve.note(2, 0.01)
    assert curve.mean(64) == pytest.approx(0.32)


@given(st.floats(0.1, 1000), st.floats(0.001, 1))
def test_a_rate_comes_to_be_the_rate(per_second: float, seconds: float) -> None:
    rate = Rate()
    for _ in range(math.ceil(20 / seconds)):
        rate.note(per_second * seconds, seconds)
    assert rate.per_second == pytest.approx(per_second, rel=1e-6)


def known(step: float = 0.01, steps: int = 20, rows: int = 1) -> Forecast:
    forecast = Forecast()
    teach(forecast, step, steps, rows)
    return forecast


def teach(forecast: Forecast, step: float, steps: int, rows: int) -> None:
    for _ in range(500):
        forecast.note_turn(rows, step, 0)
    forecast.note_finished(job_of(1), steps, cut=False)


@given(
    st.lists(st.tuples(st.floats(1, 50), st.floats(0.001, 20)), max_size=20),
    st.integers(1, 63),
)
def test_the_widest_batch_keeps_every_deadline_that_can_be_kept(
    running: list[tuple[float, float]], rows: int
) -> None:
    forecast = Forecast()
    for size in (1, 2, 4, 8, 16, 32, 64):
        forecast.step_seconds.note(size, 0.01 + 0.002 * size)
    ones = [Running(steps, seconds) for steps, seconds in running]
    widest = forecast.widest(ones, rows, 64)
    assert rows <= widest <= 64

    def in_time(one: Running, width: int) -> bool:
        return forecast.seconds_of(one.steps, width) <= one.seconds * (1 + 1e-9)

    feasible = [one for one in ones if in_time(one, rows)]
    assert all(in_time(one, widest) for one in feasible)
    if widest < 64:
        assert not all(in_time(one, widest + 1) for one in feasible)


@given(st.floats(0, 100), st.integers(0, 1000))
def test_a_request_always_needs_something_still(expected: float, done: int) -> None:
    left = left_of(expected, done)
    assert left >= max(0.0, expected - done)
    assert left > 0 or expected < 1e-300


def test_the_time_to_retry_is_that_of_the_queue() -> None:
    forecast = known()
    for _ in range(500):
        forecast.note_turn(4, 0.1, 2)  # 20 texts a second
    assert forecast.retry_seconds(10) == pytest.approx(0.5, rel=0.01)
    assert forecast.retry_seconds(10_000) == 30
    assert forecast.retry_seconds(0) == 0.05


def test_a_cut_request_only_shows_that_it_takes_at_least_so_many_steps() -> None:
    forecast = known(steps=20)
    forecast.note_finished(job_of(2), 4, cut=True)
    assert forecast.steps_of(job_of(3)) == 20
    forecast.note_finished(job_of(4), 40, cut=True)
    assert forecast.steps_of(job_of(3)) > 20


def busy(limit: int = 100, now: float = 0.0) -> Intake:
    """An intake of an engine that runs 4 rows at 10 ms a step; a text takes 20 steps."""
    intake = Intake(limit, 4, lambda: now)
    teach(intake.forecast, 0.01, 20, 4)
    intake.note_running(4, 40.0)
    return intake


def test_what_cannot_be_done_in_time_is_refused_and_what_can_is_not() -> None:
    intake = busy()
    intake.accept([job_of(1, deadline=0.5)])  # 0.2 s
    with pytest.raises(DeadlineUnreachableError, match=r"has 100 ms left and would take about"):
        intake.accept([job_of(2, deadline=0.1)])
    intake.accept([job_of(key) for key in range(10, 50)])  # 40 texts of 50 ms each are due later
    intake.accept([job_of(3, deadline=0.5)])
    with pytest.raises(DeadlineError, match="passed"):
        intake.accept([job_of(4, deadline=-0.1)])


def test_work_that_is_due_before_counts() -> None:
    intake = busy(limit=1000)
    for key in range(40):
        intake.accept([job_of(key, deadline=5.0)])  # 2 s of work
    intake.accept([job_of(100, deadline=1.0)])  # goes before them
    with pytest.raises(DeadlineUnreachableError):
        intake.accept([job_of(key, deadline=5.0) for key in range(200, 300)])


def test_a_tenant_waits_for_no_more_of_the_others_than_its_share() -> None:
    intake = busy(limit=1000)
    intake.accept([job_of(key, tenant="flood") for key in range(500)])  # 25 s of work
    intake.accept([job_of(1000, deadline=1.0, tenant="small")])
    with pytest.raises(DeadlineUnreachableError):
        intake.accept([job_of(1001, deadline=0.1, tenant="small")])


def test_interactive_requests_do_not_wait_for_batch_ones() -> None:
    intake = busy(limit=1000)
    intake.accept([job_of(key, deadline=100.0, priority=Priority.BATCH) for key in range(100)])
    intake.accept([job_of(1000, deadline=1.0)])
    interactive = [job_of(2000 + key, deadline=100.0) for key in range(100)]  # 5 s of work
    intake.accept(interactive)
    with pytest.raises(DeadlineUnreachableError):
        intake.accept([job_of(3000, deadline=4.0, priority=Priority.BATCH)])


def test_whoever_is_alone_is_tried_whatever_the_forecast_says() -> None:
    intake = busy()
    teach(intake.forecast, 100.0, 20, 1)
    intake.note_running(0, 0.0)
    intake.accept([job_of(1, deadline=0.1)])


def test_reserved_places_count_until_they_are_released() -> None:
    intake = busy(limit=3)
    with intake.reserve(2, 10):
        with pytest.raises(QueueFullError, match=r"2 texts wait already and 2 more .* limit of 3"):
            intake.reserve(2, 10)
        assert intake.crowded
    assert not intake.crowded
    intake.accept([job_of(1), job_of(2), job_of(3)])
    with pytest.raises(QueueFullError) as caught:
        intake.accept([job_of(4)])
    assert 50 <= int(caught.value.metadata["retry_delay_ms"]) <= 30_000
    intake.leave([1, 2, 99])
    intake.accept([job_of(4), job_of(5)])


STEPS = st.lists(
    st.tuples(st.sampled_from("arl"), st.integers(0, 7), st.sampled_from("xyz"), st.booleans()),
    max_size=60,
)


@given(STEPS)
def test_the_tally_is_empty_when_everybody_has_left(
    steps: list[tuple[str, int, str, bool]],
) -> None:
    intake = busy(limit=12)
    inside: set[int] = set()
    for number, (what, count, tenant, timed) in enumerate(steps):
        if what == "l":
            leaving = sorted(inside)[:count]
            intake.leave(leaving)
            inside -= set(leaving)
            continue
        jobs = [
            job_of(100 * number + one, deadline=9.0 if timed else None, tenant=tenant)
            for one in range(count)
        ]
        try:
            if what == "r":
                with intake.reserve(count, 10, tenant=tenant):
                    pass
            else:
                intake.accept(jobs)
                inside |= {job.key for job in jobs}
        except QueueFullError:
            assert len(inside) + count > 12
        assert len(inside) <= 12
    intake.leave(inside)
    intake.accept([job_of(10_000 + one) for one in range(12)])


def test_background_requests_take_nobodys_place_and_nobodys_time() -> None:
    intake = busy(limit=10)
    intake.accept([job_of(key, priority=Priority.BACKGROUND) for key in range(4)])
    intake.accept([job_of(100 + key) for key in range(10)])  # the whole queue
    with pytest.raises(QueueFullError):
        intake.accept([job_of(200, priority=Priority.BACKGROUND)])
    intake.leave([0, 1, 100])
    intake.accept([job_of(201)])
    with pytest.raises(QueueFullError):
        intake.accept([job_of(202)])
