"""From a study file to its points: one for each thing to train, each of them once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from training.defaults import Overrides
from training.methods.catalog import METHODS
from training.study.axes import AXES, BASE, FULL
from training.study.file import Block, StudyFile, Training


@dataclass(frozen=True)
class Point:
    """What one cell is about, in the study's own names.

    Attributes:
        base: Key of the file's bases.
        method: Key of the file's methods, or "base" and "full".
        budget: None for a method without a size, for the base and for full fine-tuning.
        train: Training segments at most; 0 for the base.
        seed: Of start, batches and dropout; 0 for the base.
    """

    base: str
    pair: str
    method: str
    budget: float | None
    train: int
    seed: int

    @property
    def title(self) -> str:
        """Return what people read in progress lines."""
        budget = "" if self.budget is None else f" {100 * self.budget:g}%"
        size = f" train {self.train} seed {self.seed}" if self.method != BASE else ""
        return f"{self.base} {self.pair} {self.method}{budget}{size}"


def points(study: StudyFile) -> tuple[Point, ...]:
    """Return every point of the grid once, references before what is compared with them."""
    found = dict.fromkeys(point for block in study.grid for point in _of_block(study, block))
    order = {BASE: 0, FULL: 1}
    return tuple(sorted(found, key=lambda point: order.get(point.method, 2)))


def _of_block(study: StudyFile, block: Block) -> Iterator[Point]:
    bases, pairs, methods, budgets, train, seeds = (_axis(study, block, name) for name in AXES)
    for base, pair in product(bases, pairs):
        yield Point(base, pair, BASE, None, 0, 0)
        for size, seed in product(train, seeds):
            yield Point(base, pair, FULL, None, size, seed)
    for base, pair, method, size, seed in product(bases, pairs, methods, train, seeds):
        for budget in budgets if _has_size(study, method) else (None,):
            yield Point(base, pair, method, budget, size, seed)


def _axis(study: StudyFile, block: Block, name: str) -> tuple[Any, ...]:
    chosen = getattr(block, name)
    return tuple(getattr(study, name) if chosen is None else chosen)


def _has_size(study: StudyFile, method: str) -> bool:
    return bool(METHODS[method_name(study, method)].size_name)


def method_name(study: StudyFile, method: str) -> str:
    """Return the catalog's name of a method of the study."""
    return study.methods[method].method or method if method in study.methods else method


def settings(study: StudyFile, point: Point) -> Overrides:
    """Return what the recipe of a point has instead of the defaults."""
    given = study.training.model_dump(exclude_none=True)
    for override in study.overrides:
        if _fits(override.when.model_dump(exclude_none=True), point):
            given |= _given(override.set)
    return Overrides(**given, seed=point.seed, train=point.train)


def _given(training: Training) -> dict[str, Any]:
    return training.model_dump(exclude_none=True)


def _fits(when: dict[str, list[Any]], point: Point) -> bool:
    own = dict(
        zip(
            AXES,
            (point.base, point.pair, point.method, point.budget, point.train, point.seed),
            strict=True,
        )
    )
    return all(own[axis] in values for axis, values in when.items())
