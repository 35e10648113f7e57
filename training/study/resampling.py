"""Two sources of chance told apart: which seeds were drawn, and which test items.

A hierarchical bootstrap. In every resample test items are drawn with replacement, the same draws
for every system that was scored on these items (Koehn 2004), and of each trained system its seeds
are drawn with replacement. The score of a system in a resample is the mean over its drawn seeds.

The plain bootstrap of S seeds has only (S − 1)/S of their variance; with three seeds a third is
missing. So deviations that come of drawing seeds are stretched by √(S/(S − 1)). Of one seed the
variance is not known: intervals then hold test items alone, and say so.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]

RESAMPLES: Final = 2000
SEED: Final = 12345
CHRF_BETA: Final = 2
INTERVAL: Final = 0.95


@dataclass(frozen=True)
class Estimate:
    """A quantity with its resamples.

    Attributes:
        value: From all items and all seeds.
        draws: (resamples,), items and seeds drawn.
        seeds: Fewest seeds of a trained system in it; 0 where none is trained.
    """

    value: float
    draws: Numbers
    seeds: int

    @property
    def deviation(self) -> float:
        """Return the standard error."""
        return float(self.draws.std(ddof=1))

    def interval(self, level: float = INTERVAL) -> tuple[float, float]:
        """Return the percentile interval."""
        import numpy as np

        tail = 50 * (1 - level)
        low, high = np.percentile(self.draws, (tail, 100 - tail))
        return float(low), float(high)

    def p_above(self, limit: float = 0.0) -> float:
        """Return the one-sided p-value of "above the limit"; never 0 (Noreen 1989)."""
        return (int((self.draws <= limit).sum()) + 1) / (len(self.draws) + 1)

    def p_below(self, limit: float = 0.0) -> float:
        """Return the one-sided p-value of "below the limit"."""
        return (int((self.draws >= limit).sum()) + 1) / (len(self.draws) + 1)

    def p_differs(self) -> float:
        """Return the two-sided p-value of "not zero"."""
        return min(1.0, 2 * min(self.p_above(), self.p_below()))

    def p_within(self, margin: float) -> float:
        """Return the p-value of two one-sided tests for equivalence (Schuirmann 1987)."""
        return max(self.p_above(-margin), self.p_below(margin))


def combine(parts: Sequence[tuple[float, Estimate]]) -> Estimate:
    """Return a weighted sum; what was scored on the same items stays paired."""
    trained = [part.seeds for _, part in parts if part.seeds]
    draws = sum(weight * part.draws for weight, part in parts)
    return Estimate(
        value=sum(weight * part.value for weight, part in parts),
        draws=draws,  # type: ignore[arg-type]
        seeds=min(trained, default=0),
    )


def difference(one: Estimate, other: Estimate) -> Estimate:
    """Return one less the other."""
    return combine([(1.0, one), (-1.0, other)])


def mean_of(parts: Sequence[Estimate]) -> Estimate:
    """Return the mean."""
    return combine([(1 / len(parts), part) for part in parts])


def slope_of(parts: Sequence[Estimate], places: Sequence[float]) -> Estimate:
    """Return the least-squares slope of some quantities over fixed places.

    Raises:
        ValueError: All places are one.
    """
    middle = math.fsum(places) / len(places)
    spread = math.fsum((place - middle) ** 2 for place in places)
    if spread <= 0:
        raise ValueError("a slope needs two places")
    return combine(
        [((place - middle) / spread, part) for place, part in zip(places, parts, strict=True)]
    )


class Resampler:
    """Draws items once for each test set, and seeds once for each system."""

    def __init__(self, resamples: int = RESAMPLES, seed: int = SEED) -> None:
        """Draw nothing yet."""
        self.resamples, self._seed = resamples, seed
        self._counts: dict[str, Numbers] = {}

    def estimate(self, name: str, test: str, runs: Sequence[Numbers], *, trained: bool) -> Estimate:
        """Return chrF++ of a system; see `measure`."""
        return self.measure(name, test, runs, trained=trained)[0]

    def measure(
        self, name: str, test: str, runs: Sequence[Numbers], *, trained: bool
    ) -> tuple[Estimate, float]:
        """Return chrF++ of a system, and the standard error that comes of the items alone.

        Args:
            name: Names its draws of seeds.
            test: Names the test set, and so the draws of items.
            runs: Statistics of each seed, (items, kinds).
            trained: Whether seeds are a source of chance; the base has none.
        """
        import numpy as np

        value = float(np.mean([chrf_of(run.sum(axis=0)) for run in runs]))
        counts = self._drawn(test, len(runs[0]))
        scores: Numbers = np.stack([chrf_of(counts @ run) for run in runs])  # (seeds, resamples)
        items = float(scores.mean(axis=0).std(ddof=1))
        return Estimate(value, self._seeds(name, scores), len(runs) if trained else 0), items

    def _drawn(self, test: str, items: int) -> Numbers:
        """Return (resamples, items): how often each item is in each resample."""
        import numpy as np

        if test not in self._counts:
            draws = self._generator(test).integers(items, size=(self.resamples, items))
            places = (draws + items * np.arange(self.resamples)[:, None]).ravel()
            flat = np.bincount(places, minlength=self.resamples * items)
            self._counts[test] = flat.reshape(self.resamples, items).astype(float)
        return self._counts[test]

    def _seeds(self, name: str, scores: Numbers) -> Numbers:
        import numpy as np

        seeds, resamples = scores.shape
        middle: Numbers = scores.mean(axis=0)
        if seeds == 1:
            return middle
        drawn = self._generator(name).integers(seeds, size=(seeds, resamples))
        deviation = scores[drawn, np.arange(resamples)].mean(axis=0) - middle
        drawn_scores: Numbers = middle + deviation * math.sqrt(seeds / (seeds - 1))
        return drawn_scores

    def _generator(self, name: str) -> Any:
        import numpy as np

        digest = hashlib.blake2b(f"{self._seed}:{name}".encode(), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(digest, "big"))


def chrf_of(total: Numbers) -> Any:
    """Return chrF++ of sums of statistics, (…, 3 × orders), as sacreBLEU computes it.

    Orders that hypotheses or references do not have are left out ("effective order").
    """
    import numpy as np

    hypothesis, reference, match = total[..., 0::3], total[..., 1::3], total[..., 2::3]
    there = (hypothesis > 0) & (reference > 0)
    orders = np.maximum(there.sum(axis=-1), 1)
    precision = np.where(there, match / np.maximum(hypothesis, 1), 0.0).sum(axis=-1) / orders
    recall = np.where(there, match / np.maximum(reference, 1), 0.0).sum(axis=-1) / orders
    factor = CHRF_BETA**2
    below = factor * precision + recall
    score = (1 + factor) * precision * recall / np.where(below > 0, below, 1.0)
    return 100 * np.where(below > 0, score, 0.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979): step down, monotone, at most 1."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def smallest_visible(deviation: float, alpha: float, power: float, *, sides: int = 2) -> float:
    """Return the smallest effect that a z-test at this standard error finds with this power."""
    from statistics import NormalDist

    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / sides) + normal.inv_cdf(power)) * deviation


def by(key: Callable[[Any], Any], values: Sequence[Any]) -> Mapping[Any, list[Any]]:
    """Return values by a key, in order of their first."""
    found: dict[Any, list[Any]] = {}
    for value in values:
        found.setdefault(key(value), []).append(value)
    return found
