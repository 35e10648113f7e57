"""`hub study plan`: cells, parameters, time and disk, before anything is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hub.console import duration, note, print_table, size_text
from training.recipe import Recipe
from training.study.axes import BASE, FULL
from training.study.cells import Cell, resolve
from training.study.ledger import Ledger
from training.study.probe import probe

if TYPE_CHECKING:
    from training.study.file import StudyFile

ROW_BYTES: Final = 3000
"""Of a row of the ledger without its statistics."""
ITEM_BYTES: Final = 24
"""Of one test item's compressed statistics; measured, rounded up."""
TRAINING_COPIES: Final = 5
"""Times the trained weights in a run folder: best, last, and parameters and two moments."""


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        seconds: Expected, by cell name; empty without a probe.
        finished: Names of cells that the ledger has already.
    """

    study: StudyFile
    cells: tuple[Cell, ...]
    seconds: Mapping[str, float]
    finished: frozenset[str]

    @property
    def open_cells(self) -> list[Cell]:
        """Return what would be run."""
        return [c for c in self.cells if not c.reason and c.name not in self.finished]

    @property
    def total_seconds(self) -> float | None:
        """Return the core time of what would be run; None without a probe."""
        return sum(self.seconds[cell.name] for cell in self.open_cells) if self.seconds else None

    @property
    def disk_bytes(self) -> int:
        """Return the most that the study folder takes while it runs."""
        study, cells = self.study, self.open_cells
        rows = len(cells) * (ROW_BYTES + ITEM_BYTES * study.corpus.test)
        weights = [4 * (cell.trainable or 0) for cell in cells]
        if study.execution.keep:
            return rows + 3 * sum(weights)
        largest = max(weights, default=0)
        return rows + study.execution.workers * TRAINING_COPIES * largest


def make_plan(study: StudyFile, folder: Path, *, probed: bool) -> Plan:
    """Resolve a study, and time what its cells do.

    Args:
        study: The file.
        folder: Of the ledger, which remembers probes and what is finished.
        probed: Whether to probe.
    """
    note("reading bases and corpora")
    cells = resolve(study)
    ledger = Ledger(folder)
    try:
        done = frozenset(row.cell.name for row in ledger.entries() if row.state == "done")
        if probed:
            note("probing: some updates of each method and size on each base")
        seconds = probe(study, ledger, cells) if probed else {}
    finally:
        ledger.close()
    return Plan(study, cells, seconds, done)


def print_plan(plan: Plan, *, every: bool) -> None:
    """Print a plan: by base and method, or every cell."""
    columns = (
        "base", "method", ">budget", ">size", ">trained", ">of the base", ">updates", ">cells",
        ">seconds each", ">core time",
    )  # fmt: skip
    print_table(columns, [_row(plan, group) for group in _groups(plan.cells).values()])
    if every:
        _print_cells(plan)
    _print_blocked(plan.cells)
    runnable = sum(not cell.reason for cell in plan.cells)
    waiting = len(plan.open_cells)
    note(f"{runnable} cells can be run here, {runnable - waiting} of them are done")
    note(f"disk: at most {size_text(plan.disk_bytes)} at a time")
    total = plan.total_seconds
    if total is not None:
        workers = plan.study.execution.workers
        note(
            f"core time of what is left: {duration(total)} on {plan.study.execution.threads} thread"
        )
        note(f"with {workers} workers (--ray local): about {duration(total / workers)}")


_Group = tuple[str, str, float | None, int | None]


def _groups(cells: Sequence[Cell]) -> dict[_Group, list[Cell]]:
    found: dict[_Group, list[Cell]] = {}
    for cell in cells:
        at = cell.point
        found.setdefault((at.base, at.method, at.budget, cell.trainable), []).append(cell)
    order = {BASE: 0, FULL: 1}
    bases = list(dict.fromkeys(key[0] for key in found))

    def place(key: _Group) -> tuple[int, int, str, float]:
        return (bases.index(key[0]), order.get(key[1], 2), key[1], key[2] or 0.0)

    return {key: found[key] for key in sorted(found, key=place)}


def _row(plan: Plan, cells: Sequence[Cell]) -> tuple[str, ...]:
    first = cells[0]
    timed = [plan.seconds[cell.name] for cell in cells if cell.name in plan.seconds]
    updates = {Recipe.from_json(cell.recipe).max_updates for cell in cells if cell.recipe}
    return (
        first.point.base,
        first.point.method,
        "" if first.point.budget is None else f"{first.point.budget:.3g}",
        str(first.size or "–"),
        "?" if first.trainable is None else f"{first.trainable:,}",
        "?" if first.fraction is None else f"{first.fraction:.3%}",
        "–".join(str(each) for each in sorted({min(updates), max(updates)})) if updates else "",
        str(len(cells)),
        f"{sum(timed) / len(timed):.1f}" if timed else "",
        duration(sum(timed)) if timed else "",
    )


def _print_cells(plan: Plan) -> None:
    print_table(
        ("cell", "base", "pair", "method", ">budget", ">train", ">seed", "state"),
        [
            (
                cell.name.removeprefix("sha256:")[:12] if not cell.reason else "–",
                cell.point.base,
                cell.point.pair,
                cell.point.method,
                "" if cell.point.budget is None else f"{cell.point.budget:.3g}",
                str(cell.point.train or ""),
                str(cell.point.seed or ""),
                "done" if cell.name in plan.finished else cell.reason or "to run",
            )
            for cell in plan.cells
        ],
    )


def _print_blocked(cells: Sequence[Cell]) -> None:
    reasons = Counter((cell.point.base, cell.reason) for cell in cells if cell.reason)
    if reasons:
        print_table(
            ("base", ">cells", "cannot be run here, because"),
            [(base, str(count), reason) for (base, reason), count in reasons.items()],
        )
