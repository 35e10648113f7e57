"""Adapters on real parallel text: methods and budgets against full fine-tuning, as a table.

    python tests/bench/real_data.py --base ./base --data multi30k/train --dev multi30k/dev \\
        --test multi30k/test2016 --pair en-cs --out results

Runs `hub train` once for every method and budget, and once for full fine-tuning, each with the same
seed, data and number of updates. A budget that is below a method's minimum is replaced by its
smallest size, and the table says so. Results go to OUT/PAIR.jsonl, one line for each run, so that
an interrupted table goes on where it stopped; the table itself goes to standard output.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BUDGETS = (0.001, 0.01, 0.1)
SIZES = {"bottleneck": "width", "lora": "rank"}
BUDGET_REFUSED = 64


@dataclass(frozen=True)
class Cell:
    """One run of the table."""

    method: str
    budget: float | None

    @property
    def key(self) -> str:
        return f"{self.method}@{self.budget}"

    @property
    def words(self) -> tuple[str, ...]:
        return () if self.budget is None else ("--budget", str(self.budget))

    @property
    def smallest(self) -> tuple[str, ...]:
        return (f"--{SIZES[self.method]}", "1")


def main() -> None:
    """Run what is not yet there, and print the table."""
    words = argparse.ArgumentParser()
    words.add_argument("--pair", required=True)
    words.add_argument("--base", required=True)
    words.add_argument("--methods", default="bottleneck,lora")
    words.add_argument("--full", default="", help="Words of hub train for full fine-tuning alone.")
    words.add_argument("--out", type=Path, required=True)
    asked, more = words.parse_known_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    log = asked.out / f"{asked.pair}.jsonl"
    done = _read(log)
    cells = [Cell(name, budget) for name in asked.methods.split(",") for budget in BUDGETS]
    for cell in [*cells, Cell("full", None)]:
        if cell.key in done:
            continue
        own = asked.full.split() if cell.method == "full" else []
        common = ["--pair", asked.pair, "--base", asked.base, "--method", cell.method, *more, *own]
        done[cell.key] = {"key": cell.key, **_train(common, cell, asked.out)}
        with log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(done[cell.key]) + "\n")
    print(_table(list(done.values())))


def _read(log: Path) -> dict[str, dict[str, Any]]:
    if not log.is_file():
        return {}
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return {line["key"]: line for line in lines}


def _train(common: Sequence[str], cell: Cell, out: Path) -> dict[str, Any]:
    """Return scores, p-values and seconds of one run."""
    started = time.perf_counter()
    code, report = _hub_train([*common, *cell.words], out)
    if code == BUDGET_REFUSED and cell.budget is not None:
        started = time.perf_counter()
        code, report = _hub_train([*common, *cell.smallest], out)
    if code:
        sys.exit(f"{cell.key} ended with exit code {code}")
    seconds = time.perf_counter() - started
    manifest = json.loads(Path(report["folder"], "hub.json").read_text(encoding="utf-8"))
    return {
        "method": cell.method,
        "asked": cell.budget,
        "size": manifest["size"],
        "fraction": report["realised_fraction"],
        "seconds": round(seconds, 1),
        "train_seconds": report["timings"]["train"],
        "scores": {f"{s['metric']}:{s['system']}": s["value"] for s in manifest["scores"]},
        "p": {c["metric"]: c["p_value"] for c in manifest["comparisons"] if c["against"] == "base"},
    }


def _hub_train(words: Sequence[str], out: Path) -> tuple[int, dict[str, Any]]:
    result = out / "result.json"
    command = [sys.executable, "-m", "hub", "train", *words, "--no-publish", "--force"]
    places = ["--runs", str(out / "runs"), "--registry", str(out / "registry")]
    code = subprocess.run([*command, *places, "--json", str(result)], check=False).returncode
    return code, {} if code else json.loads(result.read_text(encoding="utf-8"))


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table in Markdown."""
    lines = [
        "| Method | Size | Of the base | chrF++ | p | BLEU | p | Seconds |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    base = rows[0]["scores"]
    lines.append(
        f"| base | – | – | {base['chrf++:base']:.1f} | – | {base['bleu:base']:.1f} | – | – |"
    )
    for row in rows:
        scores, p = row["scores"], row["p"]
        asked = "" if row["asked"] is None or row["fraction"] <= row["asked"] else " (the least)"
        lines.append(
            f"| {row['method']} | {row['size'] or '–'} | {row['fraction']:.2%}{asked} "
            f"| {scores['chrf++:adapter']:.1f} | {_p(p['chrf++'])} "
            f"| {scores['bleu:adapter']:.1f} | {_p(p['bleu'])} | {row['seconds']:.0f} |"
        )
    return "\n".join(lines)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


if __name__ == "__main__":
    main()
