"""`hub study run`: claim, run, enter, until nothing is pending."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hub.console import duration, note
from hub.errors import SettingsError
from training.recipe import Recipe
from training.study.cells import Cell, resolve
from training.study.execute import Failure, in_turn, on_ray
from training.study.forecast import seconds_left
from training.study.ledger import Ledger, State
from training.study.measure import CHRF, Outcome
from training.study.probe import remembered

if TYPE_CHECKING:
    from training.study.file import StudyFile


@dataclass(frozen=True)
class RunOptions:
    """How a study is run.

    Attributes:
        folder: Of the ledger and the run folders.
        ray: Address of a Ray cluster, "local" for one on this machine; "" without Ray.
        retry_failed: Whether cells that failed are tried again.
        limit: Cells to end at most; None for all.
    """

    folder: Path
    ray: str = ""
    retry_failed: bool = False
    limit: int | None = None


def run_study(study: StudyFile, options: RunOptions) -> dict[State, int]:
    """Run every cell that is not finished, and return how many cells stand how.

    Raises:
        InterruptedRunError: Ctrl-C; the same command goes on.
        StorageFullError: The disk is full; nothing finished is lost.
        SettingsError: Another process runs this study, or no cell of it can be run here.
    """
    ledger = Ledger(options.folder)
    try:
        with ledger.owned():
            note("reading bases and corpora")
            cells = resolve(study)
            ledger.register(cells, study.scoring.model_dump_json(), study.claims.model_dump())
            if options.retry_failed:
                ledger.retry_failed()
            _refuse_nothing(cells)
            _Run(study, options, ledger).go()
        return ledger.counts()
    finally:
        ledger.close()


def _refuse_nothing(cells: tuple[Cell, ...]) -> None:
    if all(cell.reason for cell in cells):
        raise SettingsError(f"no cell of the study can be run here: {cells[0].reason}")


class _Run:
    """One pass over what is pending."""

    def __init__(self, study: StudyFile, options: RunOptions, ledger: Ledger) -> None:
        self._study, self._options, self._ledger = study, options, ledger
        self._runs = (options.folder / "runs").resolve()
        self._claimed = 0
        self._flying: set[str] = set()

    def go(self) -> None:
        """Run until nothing is pending."""
        self._forget_finished()
        try:
            with closing(self._results()) as results:
                for cell, found in results:
                    self._enter(cell, found)
        finally:
            for name in self._flying:
                self._ledger.release(name)

    def _results(self) -> Generator[tuple[Cell, Outcome | Failure]]:
        if self._options.ray:
            return on_ray(self._study, self._runs, self._claim, self._options.ray)
        return in_turn(self._study, self._runs, self._claim)

    def _claim(self) -> Cell | None:
        limit = self._options.limit
        if limit is not None and self._claimed >= limit:
            return None
        cell = self._ledger.claim()
        if cell is not None:
            self._claimed += 1
            self._flying.add(cell.name)
        return cell

    def _enter(self, cell: Cell, found: Outcome | Failure) -> None:
        if isinstance(found, Outcome):
            self._ledger.finish(cell.name, found.facts, found.statistics)
        else:
            self._ledger.fail(cell.name, found.reason, stopped=found.stopped)
        self._flying.discard(cell.name)
        self._remove_run(cell)
        self._tell(cell, found)

    def _tell(self, cell: Cell, found: Outcome | Failure) -> None:
        rows = self._ledger.entries()
        over = sum(row.state in ("done", "failed", "stopped") for row in rows)
        total = sum(row.state != "blocked" for row in rows)
        if isinstance(found, Outcome):
            what = f"chrF++ {found.facts['scores'][CHRF]:.1f}, {found.facts['seconds']:.0f} s"
        else:
            what = f"{'given up' if found.stopped else 'failed'}: {found.reason}"
        workers = self._study.execution.workers if self._options.ray else 1
        left = seconds_left(rows, remembered(self._study, self._ledger, rows), workers)
        rest = "" if left is None else f"; about {duration(left)} left"
        note(f"[{over}/{total}] {cell.point.title}: {what}{rest}")

    def _remove_run(self, cell: Cell) -> None:
        if cell.recipe and not self._study.execution.keep:
            name = Recipe.from_json(cell.recipe).run_name
            shutil.rmtree(self._runs / name, ignore_errors=True)

    def _forget_finished(self) -> None:
        """Remove run folders whose figures were entered just before a kill."""
        for row in self._ledger.entries():
            if row.state == "done":
                self._remove_run(row.cell)
