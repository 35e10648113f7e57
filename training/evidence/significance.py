"""Is the difference between two systems more than chance? Paired bootstrap resampling.

Koehn (2004): draw as many segments as there are, with replacement, the same for both systems; score
both; again and again. `p_value` is what sacreBLEU's `--paired-bs` prints, from the very same draws:
the share of resamples whose absolute difference lies further above the mean absolute difference
than the observed one. `p_worse` is Koehn's own one-sided question, whether the adapter is worse:
the share of resamples in which it is not. Ties count as not worse: equal outputs never are.

Resamples of one item are all alike, those of a few nearly so, and would find every difference
significant. So no p-value is below what a sign test finds where all n items agree: 2⁻ⁿ, and twice
that for two sides. From 11 items on this changes nothing.

Sums of segment statistics are all that is computed per resample; for 1000 resamples of 400 segments
that is one matrix product a metric.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hub.manifest import ComparisonRecord
from training.evidence.scoring import LOWER_IS_BETTER, Measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]

RESAMPLES: Final = 1000
SEED: Final = 12345
"""sacreBLEU's own default, so that its command line draws the same segments."""
CHUNK: Final = 2_000_000
"""Draws held in memory at once."""
INTERVAL: Final = (2.5, 97.5)


@dataclass(frozen=True)
class Resampling:
    """How resamples are drawn.

    Attributes:
        resamples: How many.
        chunk: Draws held in memory at once; changes nothing in the result.
    """

    resamples: int = RESAMPLES
    seed: int = SEED
    chunk: int = CHUNK

    @property
    def signature(self) -> str:
        """Return what sacreBLEU adds to a score's signature."""
        return f"bs:{self.resamples}|seed:{self.seed}"

    def counts(self, items: int) -> Iterator[Numbers]:
        """Yield (resamples, items) float64 in chunks: how often each item is in each resample."""
        import numpy as np

        generator = np.random.default_rng(self.seed)
        left, most = self.resamples, max(1, self.chunk // items)
        while left:
            rows = min(left, most)
            drawn = generator.choice(items, size=(rows, items), replace=True)
            places = (drawn + items * np.arange(rows)[:, None]).ravel()
            yield np.bincount(places, minlength=rows * items).reshape(rows, items).astype(float)
            left -= rows


def compare(
    adapter: Sequence[Measure],
    other: Sequence[Measure],
    against: str,
    how: Resampling | None = None,
) -> tuple[ComparisonRecord, ...]:
    """Compare two systems' measures on the same segments, metric by metric.

    Args:
        adapter: The system in question.
        other: What it is compared with, the same metrics in the same order.
        against: The other's name.
        how: How to resample.
    """
    how = how or Resampling()
    assert [m.metric for m in adapter] == [m.metric for m in other], "measured in one order"
    drawn = _resampled([*adapter, *other], how)
    return tuple(
        _record(one, two, against, drawn[rank] - drawn[rank + len(other)], how)
        for rank, (one, two) in enumerate(zip(adapter, other, strict=True))
    )


def _record(
    one: Measure, two: Measure, against: str, drawn: Numbers, how: Resampling
) -> ComparisonRecord:
    """Return a comparison; `drawn` are the differences by resample."""
    import numpy as np

    delta = one.score.value - two.score.value
    low, high = np.percentile(drawn, INTERVAL)
    least = 0.5 ** len(one.statistics)
    return ComparisonRecord(
        metric=one.metric,
        against=against,
        delta=round(delta, 4),
        low=round(float(low), 4),
        high=round(float(high), 4),
        p_value=max(two_sided(drawn, delta), 2 * least),
        p_worse=max(one_sided(-drawn if one.metric in LOWER_IS_BETTER else drawn), least),
        signature=f"{one.signature}|{how.signature}",
    )


def _resampled(measures: Sequence[Measure], how: Resampling) -> list[Numbers]:
    """Return each measure's score in every resample, (resamples,); all from the same draws."""
    import numpy as np

    stacked = np.hstack([measure.statistics for measure in measures])
    sums = np.vstack([counts @ stacked for counts in how.counts(len(stacked))])
    ends = np.cumsum([measure.statistics.shape[1] for measure in measures])
    parts = np.split(sums, ends[:-1], axis=1)
    return [
        np.array([measure.of_sum(total) for total in part])
        for measure, part in zip(measures, parts, strict=True)
    ]


def two_sided(drawn: Numbers, delta: float) -> float:
    """Return sacreBLEU's p-value of a difference, from its resamples.

    Where no resample tells the two apart, as with equal outputs, that is 1; sacreBLEU, which asks
    for "further" strictly, finds the smallest p-value there is.
    """
    import numpy as np

    if not drawn.any():
        return 1.0
    sizes = np.abs(drawn)
    return _share(sizes - sizes.mean() > abs(delta))


def one_sided(drawn: Numbers) -> float:
    """Return the share of resamples in which the first system is as good as the second or better.

    Args:
        drawn: Differences by resample, higher better for the first.
    """
    return _share(drawn >= 0)


def _share(hits: Numbers) -> float:
    """Return a share that is never 0: one more resample is counted as a hit (Noreen 1989)."""
    return round((int(hits.sum()) + 1) / (len(hits) + 1), 6)
