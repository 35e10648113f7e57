"""What a ledger holds, as systems: one for all seeds of the same base, pair, method and sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from training.methods.catalog import METHODS
from training.recipe import Recipe
from training.study.axes import BASE, FULL
from training.study.estimate import Estimate, difference
from training.study.ledger import Entry
from training.study.measure import CHRF, unpack
from training.study.resampling import RESAMPLES, Resampler, by

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class System:
    """One system on one pair, with a run for each seed.

    Attributes:
        base: Key of the study's bases, and so are `pair` and `method` of theirs.
        budget: As asked; None where the method has no size.
        train: Segments asked; 0 for the base.
        runs: Facts of each seed.
        cells: Names of the cells, seed by seed.
        kind: The catalog's method with the options that are not its defaults.
        quality: chrF++ with its resamples.
    """

    base: str
    pair: str
    method: str
    budget: float | None
    train: int
    seeds: tuple[int, ...]
    runs: tuple[Mapping[str, Any], ...]
    statistics: tuple[NDArray[Any], ...] = field(repr=False)
    quality: Estimate = field(repr=False)
    seed_deviation: float | None
    item_deviation: float
    fraction: float
    cells: tuple[str, ...] = ()
    kind: str = ""

    @property
    def trained(self) -> bool:
        """Return whether anything was trained."""
        return self.method != BASE

    @property
    def is_adapter(self) -> bool:
        """Return whether it is neither the base nor full fine-tuning."""
        return self.method not in (BASE, FULL)

    def mean(self, fact: str) -> float | None:
        """Return the mean of a fact over the seeds; None where one does not have it."""
        values = [run.get(fact) for run in self.runs]
        known = [float(value) for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None

    def score(self, metric: str) -> float:
        """Return the mean score over the seeds."""
        return sum(float(run["scores"][metric]) for run in self.runs) / len(self.runs)


def _kind(recipe_text: str) -> str:
    """Return what a recipe trains, in words that are the same in every study."""
    if not recipe_text:
        return BASE
    recipe = Recipe.from_json(recipe_text)
    defaults = METHODS[recipe.method].options
    other = [f"{k}={v}" for k, v in sorted(recipe.options.items()) if v != defaults[k]]
    return " ".join((recipe.method, *other))


def item_names(facts: Mapping[str, Any]) -> list[str]:
    """Return what the test items of a cell are drawn by: the same for the same item of any pair.

    Ledgers of earlier releases do not have the items' names; theirs are shared within a pair alone.
    """
    test = facts["test_fingerprint"]
    names = facts.get("item_names")
    return list(names) if names else [f"{test} {index}" for index in range(facts["items"])]


class Results:
    """All systems of a study, found by what they are."""

    def __init__(
        self, entries: Sequence[Entry], distances: Mapping[str, float], resamples: int = RESAMPLES
    ) -> None:
        """Put seeds together and draw resamples.

        Args:
            entries: Of the ledger; those that are not done are only counted.
            distances: Of the pairs, as far as they are known.
            resamples: How many.
        """
        self.entries = tuple(entries)
        self.distances = dict(distances)
        self.resampler = Resampler(resamples)
        self.systems = tuple(self._systems())

    def _systems(self) -> Iterable[System]:
        groups = by(lambda entry: replace(entry.cell.point, seed=0), self.entries)
        for group in groups.values():
            done = [entry for entry in group if entry.state == "done"]
            # The mean of the seeds that were not given up would be of the lucky ones.
            if done and not any(entry.state == "stopped" for entry in group):
                yield self._system(sorted(done, key=lambda entry: entry.cell.point.seed))

    def _system(self, group: Sequence[Entry]) -> System:
        import numpy as np

        at, facts = group[0].cell.point, tuple(entry.facts for entry in group)
        runs = [unpack(entry.statistics, entry.facts["items"]) for entry in group]
        scores = [float(each["scores"][CHRF]) for each in facts]
        name = f"{at.base} {at.pair} {at.method} {at.budget} {at.train}"
        trained = at.method != BASE
        quality, items = self.resampler.measure(name, item_names(facts[0]), runs, trained=trained)
        return System(
            base=at.base,
            pair=at.pair,
            method=at.method,
            budget=at.budget,
            train=at.train,
            seeds=tuple(entry.cell.point.seed for entry in group),
            runs=facts,
            statistics=tuple(runs),
            quality=quality,
            seed_deviation=float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
            item_deviation=items,
            fraction=group[0].cell.fraction or 0.0,
            cells=tuple(entry.cell.name for entry in group),
            kind=_kind(group[0].cell.recipe),
        )

    @cached_property
    def _index(self) -> Mapping[tuple[Any, ...], System]:
        return {(s.base, s.pair, s.method, s.budget, s.train): s for s in self.systems}

    def find(
        self, base: str, pair: str, method: str, budget: float | None = None, train: int = 0
    ) -> System | None:
        """Return a system; None where it has no finished cell."""
        return self._index.get((base, pair, method, budget, train))

    def full_of(self, system: System) -> System | None:
        """Return full fine-tuning of the same base, on the same data."""
        return self.find(system.base, system.pair, FULL, None, system.train)

    def base_of(self, system: System) -> System | None:
        """Return the untrained base."""
        return self.find(system.base, system.pair, BASE)

    def gap(self, system: System) -> Estimate | None:
        """Return full fine-tuning less a system, in chrF++; None without the former."""
        full = self.full_of(system)
        return None if full is None else difference(full.quality, system.quality)

    @property
    def bases(self) -> list[str]:
        """Return the bases by their parameters, smallest first."""
        sizes = {s.base: int(s.runs[0]["parameters"]) for s in self.systems if s.method == BASE}
        return sorted(sizes, key=lambda base: sizes[base])

    def parameters(self, base: str) -> int:
        """Return the parameters of a base that has finished cells."""
        return next(
            int(s.runs[0]["parameters"]) for s in self.systems if (s.base, s.method) == (base, BASE)
        )

    @property
    def pairs(self) -> list[str]:
        """Return the pairs by distance, closest first; those without one last."""
        names = list(dict.fromkeys(system.pair for system in self.systems))
        return sorted(names, key=lambda pair: (self.distances.get(pair, 2.0), pair))

    @property
    def sizes(self) -> list[int]:
        """Return the data sizes, smallest first."""
        return sorted({system.train for system in self.systems if system.trained})
