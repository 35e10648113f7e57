"""From how much data on full fine-tuning is better than an adapter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from training.study.results import Results

if TYPE_CHECKING:
    from training.study.file import StudyFile


@dataclass(frozen=True)
class Crossover:
    """Where the line of full fine-tuning crosses an adapter's.

    Attributes:
        gaps: By size: full fine-tuning less the adapter, in chrF++.
        segments: Training segments at which they are equal, on a straight line over their
            logarithm; None where the lines do not cross within the sizes.
    """

    base: str
    pair: str
    method: str
    gaps: tuple[tuple[int, float], ...]
    segments: float | None

    @property
    def said(self) -> str:
        """Return it in words."""
        if self.segments is not None:
            return f"about {self.segments:,.0f} segments"
        first, last = self.gaps[0], self.gaps[-1]
        if all(gap > 0 for _, gap in self.gaps):
            return f"full fine-tuning is ahead from {first[0]:,} segments on"
        if all(gap <= 0 for _, gap in self.gaps):
            return f"the adapter is ahead up to {last[0]:,} segments"
        return "the lines cross more than once"


def crossovers(study: StudyFile, results: Results) -> Iterator[Crossover]:
    """Yield the crossovers of adapters of the claimed budget, where there are two sizes."""
    budget = study.claims.budget
    for base in results.bases:
        for pair in results.pairs:
            for method in study.methods:
                gaps = tuple(_gaps(results, base, pair, method, budget))
                if len(gaps) > 1:
                    yield Crossover(base, pair, method, gaps, crossing(gaps))


def _gaps(
    results: Results, base: str, pair: str, method: str, budget: float
) -> Iterator[tuple[int, float]]:
    for train in results.sizes:
        sized = results.find(base, pair, method, budget, train)
        system = sized or results.find(base, pair, method, None, train)
        gap = None if system is None else results.gap(system)
        if gap is not None:
            yield train, gap.value


def crossing(gaps: Sequence[tuple[int, float]]) -> float | None:
    """Return where gaps go through zero, once, between two sizes; None where they do not."""
    found = []
    for (small, before), (large, after) in pairwise(gaps):
        if (before > 0) != (after > 0):
            share = before / (before - after)
            found.append(math.exp(math.log(small) + share * math.log(large / small)))
    return found[0] if len(found) == 1 else None
