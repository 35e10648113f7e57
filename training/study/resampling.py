"""Two sources of chance told apart: which seeds were drawn, and which test items.

A hierarchical bootstrap. In every resample test items are drawn, the same draws for every system
that was scored on these items (Koehn 2004), and of each trained system its seeds are drawn with
replacement. The score of a system in a resample is the mean over its drawn seeds.

How often an item is drawn is Poisson distributed with mean 1, from a generator of the item's own:
the same as drawing with replacement as far as a ratio of sums goes (Hanley & MacGibbon 2006). So an
item that stands in the test sets of several pairs, which a parallel corpus of many languages has,
is drawn into all of them together, and their mean is not thought surer than it is.

The plain bootstrap of S seeds has only (S − 1)/S of their variance; with three seeds a third is
missing. So deviations that come of drawing seeds are stretched by √(S/(S − 1)). Of one seed the
variance is not known: intervals then hold test items alone, and say so.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from training.study.estimate import Estimate, SeedChance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]

RESAMPLES: Final = 2000
SEED: Final = 12345
CHRF_BETA: Final = 2
CHRF_KINDS: Final = 18
"""Of chrF++'s statistics those of its six character orders, which come first: plain chrF's."""


class Resampler:
    """Draws each item once for all test sets, and seeds once for each system."""

    def __init__(self, resamples: int = RESAMPLES, seed: int = SEED) -> None:
        """Draw nothing yet."""
        self.resamples, self._seed = resamples, seed
        self._counts: dict[str, Numbers] = {}

    def estimate(
        self, name: str, items: Sequence[str], runs: Sequence[Numbers], *, trained: bool
    ) -> Estimate:
        """Return chrF++ of a system; see `measure`."""
        return self.measure(name, items, runs, trained=trained)[0]

    def measure(
        self, name: str, items: Sequence[str], runs: Sequence[Numbers], *, trained: bool
    ) -> tuple[Estimate, float]:
        """Return chrF++ of a system, and the standard error that comes of the items alone.

        Args:
            name: Names its draws of seeds.
            items: Names of the test items, by which they are drawn.
            runs: Statistics of each seed, (items, kinds).
            trained: Whether seeds are a source of chance; the base has none.
        """
        import numpy as np

        own = [float(chrf_of(run.sum(axis=0))) for run in runs]
        counts = self._drawn(items)
        scores: Numbers = np.stack([chrf_of(counts @ run) for run in runs])  # (seeds, resamples)
        by_items = float(scores.mean(axis=0).std(ddof=1))
        seeds = {}
        if trained and len(own) > 1:
            variance = float(np.var(own, ddof=1)) / len(own)
            seeds[name] = SeedChance(1.0, variance, len(own) - 1)
        found = Estimate(
            value=float(np.mean(own)),
            draws=self._seeds(name, scores),
            seeds=len(runs) if trained else 0,
            by_system=seeds,
            items=len(items),
        )
        return found, by_items

    def _drawn(self, items: Sequence[str]) -> Numbers:
        """Return (resamples, items): how often each item is in each resample."""
        import numpy as np

        for item in items:
            if item not in self._counts:
                drawn = self._generator(item).poisson(1.0, self.resamples)
                self._counts[item] = drawn.astype(float)
        counts: Numbers = np.stack([self._counts[item] for item in items], axis=1)
        counts[counts.sum(axis=1) == 0] = 1.0  # of ten items one resample in 22,000 has none
        return counts

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


def by(key: Callable[[Any], Any], values: Sequence[Any]) -> Mapping[Any, list[Any]]:
    """Return values by a key, in order of their first."""
    found: dict[Any, list[Any]] = {}
    for value in values:
        found.setdefault(key(value), []).append(value)
    return found
