"""Ledger rows of a study that nobody ran: systems whose quality is what a test says it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.study.axes import BASE, FULL
from training.study.cells import Cell
from training.study.file import StudyFile, parse_study
from training.study.grid import Point
from training.study.ledger import Entry
from training.study.measure import pack

ITEMS = 120
LENGTH = 60
ORDERS = 8


def statistics(quality: float, seed: int, items: int = ITEMS) -> NDArray[Any]:
    """Return chrF++ statistics of items whose matches are about `quality` percent of all.

    How hard an item is, is the same whatever the quality and the seed.
    """
    hard = np.random.default_rng(7).normal(0.0, 4.0, items)
    noise = np.random.default_rng(1000 + seed).normal(0.0, 1.0, items)
    share = np.clip((quality + hard + noise) / 100, 0.0, 1.0)
    total = np.full((items, ORDERS), LENGTH)
    match = np.round(share[:, None] * total)
    return np.stack([total, total, match], axis=2).reshape(items, 3 * ORDERS)


def entry(
    point: Point,
    quality: float,
    *,
    parameters: int = 9_000_000,
    fraction: float = 0.0,
    items: int = ITEMS,
) -> Entry:
    """Return a finished row."""
    found = statistics(quality, hash_of(point), items)
    facts = {
        "scores": {"chrf++": quality, "bleu": 0.0, "ter": 0.0, "exact": 0.0},
        "signature": "made|up",
        "items": items,
        "test_fingerprint": f"sha256:{point.pair}",
        "parameters": parameters,
        "unspelt": 0.0,
        "lengths": {"unit": "words", "of_item": [1 + index % 12 for index in range(items)]},
        "novelty": {"of_item": [(0.0, 0.4, 1.0)[index % 3] for index in range(items)]},
        "dev_chrf++": quality,
        "train_seconds": 3.0,
        "seconds": 4.0,
        "peak_memory_bytes": 10**9,
        "adapter_bytes": 10**6,
        "updates": 10,
        "best_update": 10,
    }
    cell = Cell(f"sha256:{point.title}", point, "", 1000, fraction, 8, f"sha256:{point.pair}")
    return Entry(cell, "done", 1, "", facts, pack(found))


def hash_of(point: Point) -> int:
    """Return a number of a point, the same in every process."""
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(point.title)) % 100_000


def study(**changes: Any) -> StudyFile:
    """Return a small study file with some keys changed."""
    plain: dict[str, Any] = {
        "study": "made",
        "bases": {"small": {"base": "embedded"}, "large": {"base": "embedded"}},
        "pairs": ["de-nl", "en-de", "en-ko"],
        "methods": ["bottleneck"],
        "budgets": [0.01, 0.1],
        "train": [200, 2000],
        "seeds": [1, 2, 3],
        "claims": {"margin": 1.0, "budget": 0.1},
    }
    return parse_study(plain | changes)


def rows(
    qualities: dict[tuple[str, str, str, float | None, int], float],
    seeds: Sequence[int] = (1, 2, 3),
) -> list[Entry]:
    """Return rows of systems by (base, pair, method, budget, train); seeds differ by a little."""
    found = []
    for (base, pair, method, budget, train), quality in qualities.items():
        size = 9_000_000 if base == "small" else 30_000_000
        share = {BASE: 0.0, FULL: 1.0}.get(method, budget or 0.003)
        for seed in (0,) if method == BASE else seeds:
            point = Point(base, pair, method, budget, train, seed)
            wobble = 0.1 * ((seed % 3) - 1) if method != BASE else 0.0
            found.append(entry(point, quality + wobble, parameters=size, fraction=share))
    return found


def bench_figures(kinds: list[str], mixed: float) -> dict[str, Any]:
    """Return what `hub bench engine --json` writes, cut down to what is read."""
    speeds = (("base", 500.0), ("mixed", mixed), ("ctranslate2", 300.0))
    return {
        "rows": [
            {"engine": engine, "batch": 32, "beam": 1, "tokens_per_s": speed}
            for engine, speed in speeds
        ],
        "placing": [{"kind": kind, "bytes": 2_000_000, "from_disk_ms": 3.25} for kind in kinds],
        "workload": {
            "dims": "small",
            "quantization": "int8",
            "device": "cpu",
            "kinds": kinds,
            "budget": 0.01,
        },
    }
