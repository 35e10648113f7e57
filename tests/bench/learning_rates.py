"""Which learning rate suits a method on a base: the script behind the defaults of small bases.

    python tests/bench/learning_rates.py --pair en-ko --max-updates 350 --json rates.jsonl

Runs `hub train --no-publish` for every method and rate, each from the same seed, and writes one
JSON line for each: the dev scores seen on the way, and the test score of base and adapter by the
serving engine. Choose by dev; the test score is for the table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# By name in the table: the words of `hub train`, and the rates to try.
GRID: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "bottleneck": (("--method", "bottleneck", "--budget", "0.01"), (3e-3, 1e-2, 3e-2)),
    "sublayer": (
        ("--method", "bottleneck", "--placement", "sublayer", "--budget", "0.01"),
        (3e-3, 1e-2, 3e-2),
    ),
    "lora": (("--method", "lora", "--budget", "0.01"), (1e-3, 3e-3, 1e-2)),
    "lora-all": (
        ("--method", "lora", "--targets", "all-linear", "--budget", "0.01"),
        (1e-3, 3e-3, 1e-2),
    ),
    "rslora": (("--method", "lora", "--rslora", "--budget", "0.01"), (1e-3, 3e-3, 1e-2)),
    "dora": (("--method", "lora", "--dora", "--budget", "0.01"), (1e-3, 3e-3, 1e-2)),
    "prefix": (("--method", "prefix", "--budget", "0.01"), (1e-2, 3e-2, 1e-1)),
    "prefix-mlp": (
        ("--method", "prefix", "--reparametrised", "--budget", "0.01"),
        (1e-3, 3e-3, 1e-2),
    ),
    "bitfit": (("--method", "bitfit"), (3e-3, 1e-2, 3e-2)),
    "norms": (("--method", "norms"), (1e-2, 3e-2, 1e-1)),
    "ia3": (("--method", "ia3"), (1e-2, 3e-2, 1e-1)),
    "cross-attention": (("--method", "cross-attention"), (5e-4, 1e-3, 2e-3)),
    "full": (("--method", "full"), (2e-4, 5e-4, 1e-3)),
}


def main() -> None:
    """Try every rate of the methods asked for."""
    words = argparse.ArgumentParser()
    words.add_argument("--pair", default="en-ko")
    words.add_argument("--base", default="embedded")
    words.add_argument("--methods", default=",".join(GRID))
    words.add_argument("--rates", type=float, nargs="+", help="Instead of those of the grid.")
    words.add_argument("--max-updates", type=int, default=350)
    words.add_argument("--json", type=Path, required=True)
    asked, more = words.parse_known_args()
    common = ["--pair", asked.pair, "--base", asked.base, *more]
    for name in asked.methods.split(","):
        method, rates = GRID[name]
        for rate in asked.rates or rates:
            tuning = ["--lr", str(rate), "--max-updates", str(asked.max_updates)]
            found = _train([*common, *method, *tuning, "--eval-every", str(asked.max_updates // 2)])
            line = json.dumps({"name": name, "learning_rate": rate, **found})
            print(line, flush=True)
            with asked.json.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")


def _train(words: Sequence[str]) -> dict[str, Any]:
    """Return dev scores, test scores, seconds, or what went wrong."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch, "result.json")
        command = [sys.executable, "-m", "hub", "train", *words, "--no-publish", "--force"]
        places = ["--runs", scratch, "--registry", f"{scratch}/registry", "--json", str(result)]
        started = time.perf_counter()
        done = subprocess.run([*command, *places], capture_output=True, text=True, check=False)
        seconds = round(time.perf_counter() - started, 1)
        if done.returncode:
            return {"failed": done.stderr.strip().splitlines()[-1:], "seconds": seconds}
        report = json.loads(result.read_text(encoding="utf-8"))
        kept = ("train_seconds", "trainable_parameters", "chrf_base", "chrf_adapter")
        return {
            "seconds": seconds,
            "dev": _dev_scores(Path(scratch)),
            **{name: report.get(name) for name in kept},
        }


def _dev_scores(runs: Path) -> list[float]:
    """Return the dev chrF++ at every look."""
    (log,) = runs.glob("*/log.jsonl")
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [line["dev_chrf++"] for line in lines if "dev_chrf++" in line]


if __name__ == "__main__":
    main()
