"""A short probe of what cells take: some updates and some decoded lines, before anything is run.

A training update is timed once for each base, method and size; decoding once for each base. What
was found is kept in the ledger under the recipe's facts and the number of threads. On a CPU the
time of the cores is counted, so that another process's load does not make a study seem longer.
"""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.languages import LanguagePair
from training.recipe import Recipe
from training.study.axes import BASE, FULL
from training.study.cells import Cell

if TYPE_CHECKING:
    from training.study.file import StudyFile
    from training.study.ledger import Entry, Ledger

UPDATES: Final = 5
"""Timed, after one that warms up."""
LINES: Final = 48
OVERHEAD_SECONDS: Final = 1.0
"""Of a cell: opening, scoring, the ledger. Measured on the embedded base, rounded up."""


def probe(study: StudyFile, ledger: Ledger, cells: Sequence[Cell]) -> dict[str, float]:
    """Return the expected seconds of every cell that can be run, probing what is not yet known."""
    for cell in _distinct(study, cells):
        key = _key(study, cell)
        if ledger.probe(key) is None:
            ledger.keep_probe(key, _time(study, cell))
    return expected(study, ledger, cells)


def expected(study: StudyFile, ledger: Ledger, cells: Iterable[Cell]) -> dict[str, float]:
    """Return the expected seconds by name, of the cells whose probes are known."""
    found = {}
    known: dict[str, Mapping[str, float] | None] = {}
    for cell in cells:
        if cell.reason:
            continue
        key = _key(study, cell)
        if key not in known:
            known[key] = ledger.probe(key)
        timed = known[key]
        if timed is not None:
            found[cell.name] = _cell_seconds(study, cell, timed)
    return found


def remembered(study: StudyFile, ledger: Ledger, rows: Iterable[Entry]) -> dict[str, float]:
    """Return the expected seconds of what is not finished, as far as it was probed."""
    open_cells = [row.cell for row in rows if row.state in ("pending", "running")]
    return expected(study, ledger, open_cells)


def _cell_seconds(study: StudyFile, cell: Cell, timed: Mapping[str, float]) -> float:
    items = study.corpus.test
    if cell.point.method == BASE:
        return OVERHEAD_SECONDS + items * timed["line"]
    recipe = Recipe.from_json(cell.recipe)
    looks = -(-recipe.max_updates // recipe.evaluate_every)
    lines = items + looks * min(recipe.dev_lines, recipe.dev)
    loads = looks + 1 if cell.point.method == FULL else 1
    return (
        OVERHEAD_SECONDS
        + loads * timed["load"]
        + recipe.max_updates * timed["update"]
        + lines * timed["line"]
    )


def _distinct(study: StudyFile, cells: Sequence[Cell]) -> list[Cell]:
    first: dict[str, Cell] = {}
    for cell in cells:
        if not cell.reason:
            first.setdefault(_key(study, cell), cell)
    return list(first.values())


def _key(study: StudyFile, cell: Cell) -> str:
    """Name what a cell's time follows from, this machine included."""
    facts: dict[str, Any] = {
        "base": study.bases[cell.point.base].base,
        "scoring": study.scoring.model_dump(),
        "threads": study.execution.threads,
        "machine": [platform.machine(), platform.node()],
        "method": cell.point.method,
    }
    if cell.recipe:
        recipe = json.loads(cell.recipe)
        names = ("base_digest", "options", "size", "tokens_per_batch", "accumulate", "precision")
        facts |= {name: recipe[name] for name in (*names, "checkpointing")}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _time(study: StudyFile, cell: Cell) -> dict[str, float]:
    """Return seconds of an update, of a decoded line, and of loading the base."""
    import torch

    from training.study.materials import base_decoder, corpus_spec, opened, whole_corpus

    torch.set_num_threads(study.execution.threads)
    entry, scoring = study.bases[cell.point.base], study.scoring
    opened(entry)
    decoder = base_decoder(entry, scoring.quantization, scoring.search)
    pair = LanguagePair.parse(cell.point.pair)
    test = whole_corpus(corpus_spec(study, cell.point.pair)).test[:LINES]
    sources = [segment.source for segment in test]
    decoder.translate(pair, sources[:4], 0)
    started = _clock(study)
    decoder.translate(pair, sources, 0)
    line = (_clock(study) - started) / len(sources)
    if not cell.recipe:
        return {"line": line, "update": 0.0, "load": 0.0}
    update, load = _time_updates(study, cell)
    return {"line": line, "update": update, "load": load}


def _clock(study: StudyFile) -> float:
    """Return seconds: of the cores, shared out over the threads, or of the wall on a GPU."""
    from training.loop.devices import training_device

    if training_device() == "cpu":
        return time.process_time() / study.execution.threads
    return time.perf_counter()


def _time_updates(study: StudyFile, cell: Cell) -> tuple[float, float]:
    from training.loop.examples import encode_corpus
    from training.loop.optimise import adapted_model, run_trainer
    from training.study.measure import open_work

    recipe = Recipe.from_json(cell.recipe)
    short = replace(recipe, max_updates=UPDATES + 1, evaluate_every=UPDATES + 1, warmup=0)
    with tempfile.TemporaryDirectory() as scratch:
        started = _clock(study)
        work = open_work(study, replace(cell, recipe=short.to_json()), Path(scratch))
        model = adapted_model(work)
        load = _clock(study) - started
        examples = encode_corpus(
            work.corpus.train, work.pair, work.tokenizer, max_positions=work.positions
        ).examples
        watch = _Watch(study)
        run_trainer(work, model, examples, lambda folder: 0.0, watch, None)
    return watch.median(), load


class _Watch:
    """Listens to a run and notes when each update ended."""

    def __init__(self, study: StudyFile) -> None:
        self._study = study
        self._ends: list[float] = []

    def median(self) -> float:
        """Return the median seconds between updates; the first warms up."""
        gaps = [after - before for before, after in zip(self._ends, self._ends[1:], strict=False)]
        return statistics.median(gaps)

    def updated(self, report: object) -> None:
        self._ends.append(_clock(self._study))

    def stage(self, title: str) -> None:
        """Ignore."""

    def skipped(self, step: int, lines: str) -> None:
        """Ignore."""

    def evaluated(self, step: int, score: float, *, best: bool) -> None:
        """Ignore."""

    def close(self) -> None:
        """Ignore."""
