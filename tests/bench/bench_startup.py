"""How long the command line takes to start: median of 15, beside a bare interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path


def median_seconds(arguments: list[str], folder: Path) -> float:
    samples = []
    for _ in range(15):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=folder)
        samples.append(time.perf_counter() - start)
    return statistics.median(samples)


def test_startup(repository: Path) -> None:
    bare = median_seconds(["-c", "pass"], repository)
    shown = median_seconds(["-m", "hub", "--help"], repository)
    print(f"\nhub --help: {shown * 1000:.0f} ms (bare interpreter {bare * 1000:.0f} ms)")
    assert shown < 0.3
