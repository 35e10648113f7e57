"""The ledger: what is finished is never done again, whatever ends the process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hub.errors import CorruptError, SettingsError
from training.study.cells import Cell
from training.study.grid import Point
from training.study.ledger import FILE, Ledger

SCORING = '{"search":"greedy"}'
CLAIMS = {"margin": 1.0}


def cell(name: str, reason: str = "") -> Cell:
    point = Point("embedded", "en-ko", "bottleneck", 0.01, 100, int(name))
    return Cell(f"sha256:{name}", point, "", 10, 0.01, 3, "sha256:test", reason)


CELLS = tuple(cell(name) for name in "12345")


def opened(folder: Path, cells: tuple[Cell, ...] = CELLS) -> Ledger:
    ledger = Ledger(folder)
    ledger.register(cells, SCORING, CLAIMS)
    return ledger


def test_cells_are_claimed_in_order_and_finished_with_their_figures(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    first, second = ledger.claim(), ledger.claim()
    assert (first, second) == CELLS[:2]
    ledger.finish("sha256:1", {"chrf++": 50.5}, b"numbers")
    ledger.fail("sha256:2", "too\nhot")
    done, failed, *rest = ledger.entries()
    assert (done.state, done.facts, done.statistics) == ("done", {"chrf++": 50.5}, b"numbers")
    assert (failed.state, failed.reason, failed.attempts) == ("failed", "too hot", 1)
    assert {entry.state for entry in rest} == {"pending"}


def test_what_is_done_stays_done_when_the_grid_changes(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.claim()
    ledger.finish("sha256:1", {"value": 1}, b"")
    ledger.register((cell("9"), CELLS[0]), SCORING, CLAIMS)
    new, old = ledger.entries()
    assert (new.cell.name, new.state) == ("sha256:9", "pending")
    assert (old.cell.name, old.state, old.facts) == ("sha256:1", "done", {"value": 1})
    ledger.register(CELLS[1:], SCORING, CLAIMS)
    assert "sha256:1" not in [entry.cell.name for entry in ledger.entries()]
    ledger.register(CELLS, SCORING, CLAIMS)
    assert ledger.entries()[0].state == "done"


def test_cells_that_cannot_be_run_are_rows_with_reasons(tmp_path: Path) -> None:
    ledger = opened(tmp_path, (cell("1", reason="no base"), CELLS[1]))
    assert ledger.claim() == CELLS[1]
    assert ledger.claim() is None
    assert ledger.entries()[0].reason == "no base"
    ledger.register((replace(CELLS[0]), CELLS[1]), SCORING, CLAIMS)
    assert ledger.claim() == CELLS[0]


def test_failed_cells_are_tried_again_only_when_asked(tmp_path: Path) -> None:
    ledger = opened(tmp_path, CELLS[:1])
    ledger.claim()
    ledger.fail("sha256:1", "no luck")
    ledger.register(CELLS[:1], SCORING, CLAIMS)
    assert ledger.claim() is None
    assert ledger.retry_failed() == 1
    assert ledger.claim() == CELLS[0]


def test_scores_that_were_decoded_otherwise_are_not_mixed(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    with pytest.raises(SettingsError, match="cannot be compared"):
        ledger.register(CELLS, '{"search":"base"}', CLAIMS)


def test_claims_that_change_when_cells_are_done_do_not_replace_the_earlier(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.register(CELLS, SCORING, {"margin": 0.5})
    assert [(each.claims["margin"], each.done) for each in ledger.said()] == [(0.5, 0)]
    ledger.claim()
    ledger.finish("sha256:1", {}, b"")
    for _ in range(2):
        ledger.register(CELLS, SCORING, {"margin": 3.0})
    assert [(each.claims["margin"], each.done) for each in ledger.said()] == [(0.5, 0), (3.0, 1)]


def test_a_ledger_is_read_where_nothing_may_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path).close()
    before = (tmp_path / FILE).read_bytes()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    ledger = Ledger.existing(tmp_path)
    assert len(ledger.entries()) == len(CELLS)
    with pytest.raises(SettingsError, match="readonly"):
        ledger.claim()
    assert (tmp_path / FILE).read_bytes() == before


_WORKER = """
import os, signal, sys
from pathlib import Path
from training.study.ledger import Ledger

ledger = Ledger(Path(sys.argv[1]))
with ledger.owned():
    first = ledger.claim()
    ledger.finish(first.name, {"by": "the killed one"}, b"")
    ledger.claim()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_its_cell_to_the_next(tmp_path: Path) -> None:
    opened(tmp_path).close()
    killed = subprocess.run([sys.executable, "-c", _WORKER, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    ledger = Ledger(tmp_path)
    assert [entry.state for entry in ledger.entries()][:2] == ["done", "running"]
    with ledger.owned():
        again = []
        while (claimed := ledger.claim()) is not None:
            again.append(claimed)
            ledger.finish(claimed.name, {"by": "the next"}, b"")
    assert again == list(CELLS[1:])
    assert [entry.facts["by"] for entry in ledger.entries()] == ["the killed one"] + 4 * [
        "the next"
    ]
    assert ledger.entries()[1].attempts == 2


_HOLDER = """
import sys
from pathlib import Path
from training.study.ledger import Ledger

with Ledger(Path(sys.argv[1])).owned():
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time_runs_a_study(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _HOLDER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "mine\n"
        with pytest.raises(SettingsError, match="another process"), Ledger(tmp_path).owned():
            pass
        holder.communicate("")
    with Ledger(tmp_path).owned():
        pass


def test_a_damaged_ledger_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"this is no database at all, but it is long enough" * 40)
    with pytest.raises(CorruptError, match="choose another --folder"):
        Ledger(tmp_path)


def test_a_ledger_of_another_release_is_told(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(SettingsError, match="schema 99"):
        Ledger(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SettingsError, match="--folder"):
        Ledger(tmp_path / "study")


def test_nothing_is_read_where_no_study_is(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no study"):
        Ledger.existing(tmp_path)
