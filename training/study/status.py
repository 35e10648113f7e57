"""`hub study status`: how the ledger stands, also while another process runs the study."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hub.console import duration, note, print_table
from training.study.forecast import seconds_left
from training.study.ledger import STATES, Ledger


def print_status(folder: Path) -> None:
    """Print counts by base and method, failures with their reasons, and the time left.

    Raises:
        SettingsError: There is no ledger.
    """
    ledger = Ledger.existing(folder)
    try:
        rows = ledger.entries()
    finally:
        ledger.close()
    counts = Counter((row.cell.point.base, row.cell.point.method, row.state) for row in rows)
    groups = list(dict.fromkeys((row.cell.point.base, row.cell.point.method) for row in rows))
    print_table(
        ("base", "method", *(f">{state}" for state in STATES)),
        [(*group, *(str(counts[(*group, state)] or "") for state in STATES)) for group in groups],
    )
    lost = [row for row in rows if row.state in ("failed", "stopped", "blocked")]
    if lost:
        reasons = Counter((row.state, row.reason) for row in lost)
        first = {(row.state, row.reason): row.cell.point.title for row in reversed(lost)}
        print_table(
            ("state", ">cells", "such as", "reason"),
            [(key[0], str(count), first[key], key[1]) for key, count in reasons.items()],
        )
    left = seconds_left(rows, {}, 1)
    waiting = sum(row.state in ("pending", "running") for row in rows)
    note(f"{waiting} cells are left" + (f", about {duration(left)} of core time" if left else ""))
