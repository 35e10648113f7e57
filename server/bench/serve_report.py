"""The table of `hub bench serve`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def rows_of_scenarios(found: Mapping[str, Any]) -> list[list[str]]:
    """Return a row for each group of callers of each part of each scenario."""
    seconds = found["options"]["seconds"]
    return [
        _row(name, group, tally, report, seconds)
        for name, report in _parts(found["scenarios"])
        for group, tally in report["groups"].items()
    ]


def _parts(scenarios: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, result in scenarios.items():
        if name == "saturation":
            for row in result:
                yield f"{name} {row['callers']}", row
        elif name == "flood":
            yield f"{name}: alike", result["alike"]
            yield f"{name}: flooded", result["flooded"]
        else:
            yield name, result


def _row(
    name: str, group: str, tally: Mapping[str, Any], report: Mapping[str, Any], seconds: float
) -> list[str]:
    answered, rejected = tally["answered_ms"] or {}, tally["rejected_ms"] or {}
    refused = sum(count for told, count in tally["told"].items() if told != "OK")
    return [
        name,
        group,
        str(tally["per_second"]),
        *(str(answered.get(at, "")) for at in ("p50", "p95", "p99")),
        str(round(refused / seconds, 1)),
        str(rejected.get("p99", "")),
        str(report["server_cpus"]),
        str(report["client_cpus"]),
    ]
