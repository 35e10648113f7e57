"""From how much data on full fine-tuning is better than an adapter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from training.study.estimate import Estimate
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
        unsure: Sizes at which the interval of the gap holds zero, so that the sign may be chance.
    """

    base: str
    pair: str
    method: str
    gaps: tuple[tuple[int, float], ...]
    segments: float | None
    unsure: tuple[int, ...] = ()

    @property
    def said(self) -> str:
        """Return it in words."""
        sizes = ", ".join(f"{size:,}" for size in self.unsure)
        return self._plain + (f"; which is ahead is not certain at {sizes}" if sizes else "")

    @property
    def _plain(self) -> str:
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
                found = dict(_gaps(results, base, pair, method, budget))
                gaps = tuple((size, gap.value) for size, gap in found.items())
                if len(gaps) > 1:
                    unsure = tuple(size for size, gap in found.items() if _holds_zero(gap))
                    yield Crossover(base, pair, method, gaps, crossing(gaps), unsure)


def _holds_zero(gap: Estimate) -> bool:
    low, high = gap.interval()
    return low <= 0 <= high


def _gaps(
    results: Results, base: str, pair: str, method: str, budget: float
) -> Iterator[tuple[int, Estimate]]:
    for train in results.sizes:
        sized = results.find(base, pair, method, budget, train)
        system = sized or results.find(base, pair, method, None, train)
        gap = None if system is None else results.gap(system)
        if gap is not None:
            yield train, gap


def crossing(gaps: Sequence[tuple[int, float]]) -> float | None:
    """Return where gaps go through zero, once, between two sizes; None where they do not."""
    found = []
    for (small, before), (large, after) in pairwise(gaps):
        if (before > 0) != (after > 0):
            share = before / (before - after)
            found.append(math.exp(math.log(small) + share * math.log(large / small)))
    return found[0] if len(found) == 1 else None
