"""What happens to a cell that fails or is hopeless, and how long the rest takes."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from hub.errors import HubError, SettingsError, StorageFullError, UnavailableError
from tests.support.study_entries import entry, study
from training.study import execute
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


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "weights"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_full_disk_is_no_fault_of_the_cell(
    error: Exception, wrapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        if not wrapped:
            raise error
        raise ValueError("weights are not whole") from error

    monkeypatch.setattr(execute, "measure", full)
    cell = entry(Point("small", "en-de", "base", None, 0, 0), 50.0).cell
    with pytest.raises(StorageFullError, match="nothing finished is repeated"):
        attempt(study(), cell, tmp_path)


def test_a_cell_that_another_process_still_trains_has_not_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of a study that was killed may live a moment longer than the study."""

    def taken(*_: object) -> None:
        raise SettingsError("another process is training in runs/x", field="runs")

    monkeypatch.setattr(execute, "measure", taken)
    cell = entry(Point("small", "en-de", "base", None, 0, 0), 50.0).cell
    with pytest.raises(SettingsError, match="another process"):
        attempt(study(), cell, tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LocalRayletDiedError", UnavailableError),
        ("RaySystemError", UnavailableError),
        ("OutOfDiskError", StorageFullError),
    ],
)
def test_a_cluster_that_is_lost_does_not_fail_the_cells(
    name: str, expected: type[HubError]
) -> None:
    exceptions = pytest.importorskip("ray").exceptions

    class Gone:
        """Ray, of which nothing is left."""

        def __init__(self) -> None:
            self.exceptions = exceptions

        def get(self, task: object) -> None:
            raise getattr(exceptions, name)("the raylet is gone")

    with pytest.raises(expected, match="nothing finished is repeated"):
        execute._result(Gone(), object())


def test_a_worker_that_dies_again_and_again_fails_its_cell_alone() -> None:
    exceptions = pytest.importorskip("ray").exceptions

    class Deadly:
        """Ray, whose worker dies of this cell."""

        def __init__(self) -> None:
            self.exceptions = exceptions

        def get(self, task: object) -> None:
            raise exceptions.WorkerCrashedError

    found = execute._result(Deadly(), object())
    assert isinstance(found, Failure)
    assert "died 3 times" in found.reason


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
