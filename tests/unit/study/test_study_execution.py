"""What happens to a cell that fails or is hopeless, and how long the rest takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.study_entries import entry, study
from training.study.execute import Failure, attempt
from training.study.file import EarlyStopping
from training.study.forecast import seconds_left
from training.study.grid import Point
from training.study.ledger import Entry
from training.study.measure import HopelessError, Impatient


def looks(scores: list[float], rule: EarlyStopping) -> int:
    """Return how many of ten looks, one every ten updates, a cell with these scores gets."""
    coming = iter(scores)
    judge = Impatient(lambda folder: next(coming), rule, every=10, updates=100, base_score=50.0)
    for seen in range(len(scores)):
        try:
            judge(Path("unused"))
        except HopelessError:
            return seen + 1
    return len(scores)


def test_a_cell_below_the_base_is_given_up_when_the_file_says() -> None:
    assert looks([10.0] * 10, EarlyStopping(after=0.5, gain=0.0)) == 5
    assert looks([10.0] * 10, EarlyStopping(after=0.31, gain=0.0)) == 4
    assert looks([51.0] * 10, EarlyStopping(after=0.5, gain=0.0)) == 10
    assert looks([51.0] * 10, EarlyStopping(after=0.5, gain=2.0)) == 5


def test_the_last_look_gives_nothing_up() -> None:
    """What was trained to the end is scored, however bad it is."""
    assert looks([60.0] * 9 + [1.0], EarlyStopping(after=0.5, gain=0.0)) == 10
    assert looks([10.0] * 10, EarlyStopping(after=1.0, gain=0.0)) == 10


def test_what_goes_wrong_with_one_cell_is_an_answer(tmp_path: Path) -> None:
    made = study(bases={"small": {"base": "not/here"}, "large": {"base": "not/here"}})
    cell = entry(Point("small", "en-de", "base", None, 0, 0), 50.0).cell
    found = attempt(made, cell, tmp_path)
    assert isinstance(found, Failure)
    assert not found.stopped
    assert "base 'not/here' is not on this machine" in found.reason


def rows_of(method: str, seconds: list[float], waiting: int) -> list[Entry]:
    done = [
        replace(made, facts={**made.facts, "seconds": each})
        for index, each in enumerate(seconds)
        for made in [entry(Point("small", "en-de", method, 0.1, 10, index), 50.0)]
    ]
    left = [
        replace(entry(Point("small", "en-de", method, 0.1, 20, n), 50.0), state="pending", facts={})
        for n in range(waiting)
    ]
    return done + left


def test_time_left_is_by_cells_of_the_same_kind_else_by_the_probe() -> None:
    known = rows_of("bottleneck", [4.0, 6.0], waiting=3)
    assert seconds_left(known, {}, workers=1) == pytest.approx(3 * 5.0)
    assert seconds_left(known, {}, workers=2) == pytest.approx(3 * 5.0 / 2)
    new = rows_of("lora", [], waiting=2)
    assert seconds_left(known + new, {}, workers=1) is None
    probed = {row.cell.name: 7.0 for row in new}
    assert seconds_left(known + new, probed, workers=1) == pytest.approx(15 + 14)
