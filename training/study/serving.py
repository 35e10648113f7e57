"""What each kind of adapter costs where it is served: figures of `hub bench engine --json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hub.console import size_text
from hub.errors import SettingsError
from training.study.tables import Grid

COLUMNS = (
    "kind", ">of the base", "dimensions", "numbers", "device", ">batch", ">beam",
    ">base, tokens/s", ">adapters, tokens/s", ">slower by", ">in memory each",
    ">from disk into a slot",
)  # fmt: skip


def read_bench(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Return what `hub bench engine --json` wrote, file by file.

    Raises:
        SettingsError: A file cannot be read, or is not of that command.
    """
    return [_checked(path) for path in files]


def _checked(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--bench {path}: {error.strerror}", field="bench") from None
    except ValueError:
        raise _not_of_bench(path) from None
    try:
        list(_rows(found))
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        raise _not_of_bench(path) from None
    return dict(found)


def _not_of_bench(path: Path) -> SettingsError:
    return SettingsError(
        f"--bench {path} is not what `hub bench engine` writes; make one for each kind with: "
        "hub bench engine --kinds bottleneck --json bottleneck.json",
        field="bench",
    )


def serving_table(benches: Sequence[Mapping[str, Any]]) -> Grid:
    """Return a row for each file, batch and beam."""
    remark = (
        "Rows of one batch, each with an adapter of its own, against rows of the base alone, in "
        "one run of `hub bench engine` on random weights; the adapters of a row with several kinds "
        "take turns in one batch. Speeds are of that machine and do not carry over; ratios do, "
        "roughly."
    )
    rows = tuple(row for found in benches for row in _rows(found))
    return Grid("Serving cost by kind of adapter", COLUMNS, rows, remark)


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a file.

    Raises:
        KeyError: A figure is missing; and other errors of files that are something else.
    """
    work = found["workload"]
    speeds = {
        (row["engine"], row["batch"], row["beam"]): float(row["tokens_per_s"])
        for row in found["rows"]
    }
    placed = found["placing"]
    for batch, beam in sorted({(row["batch"], row["beam"]) for row in found["rows"]}):
        base, mixed = (speeds[engine, batch, beam] for engine in ("base", "mixed"))
        yield (
            ", ".join(work["kinds"]),
            f"{float(work['budget']):.3g}",
            str(work["dims"]),
            str(work["quantization"]),
            str(work["device"]),
            str(batch),
            str(beam),
            f"{base:,.0f}",
            f"{mixed:,.0f}",
            f"{1 - mixed / base:.0%}",
            _span([size_text(int(each["bytes"])) for each in placed]),
            _span([f"{float(each['from_disk_ms']):.1f} ms" for each in placed]),
        )


def _span(each: Sequence[str]) -> str:
    """Return the figures of several kinds, in their order."""
    return ", ".join(dict.fromkeys(each))
