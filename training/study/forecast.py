"""How long what is left takes: by cells of the same kind that are done, else by the probe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean

from training.study.cells import Cell
from training.study.ledger import Entry


def seconds_left(
    entries: Iterable[Entry], probed: Mapping[str, float], workers: int
) -> float | None:
    """Return the seconds until the last cell is done; None where nothing is known of a cell.

    Args:
        entries: All rows.
        probed: Expected seconds by cell name.
        workers: Cells at a time.
    """
    rows = list(entries)
    spent: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row.state == "done" and "seconds" in row.facts:
            spent[_kind(row.cell)].append(row.facts["seconds"])
    total = 0.0
    for row in rows:
        if row.state not in ("pending", "running"):
            continue
        known = spent.get(_kind(row.cell))
        expected = fmean(known) if known else probed.get(row.cell.name)
        if expected is None:
            return None
        total += expected
    return total / max(1, workers)


def _kind(cell: Cell) -> tuple[str, str]:
    return cell.point.base, cell.point.method
