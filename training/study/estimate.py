"""A quantity with its chance: resamples, standard error, degrees of freedom, p-values.

The standard error comes of a hierarchical bootstrap (`training.study.resampling`). What it is held
against is Student's t and not the quantiles of the resamples: of two or three seeds no resample
goes beyond the extreme one, so quantiles would call a difference certain that three coins show.
Degrees of freedom are Satterthwaite's (1946), from the seeds of each system and from the items.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]

INTERVAL: Final = 0.95


@dataclass(frozen=True)
class SeedChance:
    """What the seeds of one system bring into a quantity.

    Attributes:
        weight: Of the system in the quantity.
        variance: Of the mean over its seeds.
        freedom: Seeds less one.
    """

    weight: float
    variance: float
    freedom: int

    @property
    def share(self) -> float:
        """Return its part of the quantity's variance."""
        return self.weight**2 * self.variance


@dataclass(frozen=True)
class Estimate:
    """A quantity with its resamples.

    Attributes:
        value: From all items and all seeds.
        draws: (resamples,), items and seeds drawn.
        seeds: Fewest seeds of a trained system in it; 0 where none is trained.
        by_system: What the seeds of each system bring, by the system's name.
        items: Fewest test items of a system in it; 0 where that is not known.
        apart: Variance that the resamples do not have.
        most_freedom: Degrees of freedom at most, whatever seeds and items allow.
    """

    value: float
    draws: Numbers
    seeds: int
    by_system: Mapping[str, SeedChance] = field(default_factory=dict)
    items: int = 0
    apart: float = 0.0
    most_freedom: float = math.inf

    @cached_property
    def deviation(self) -> float:
        """Return the standard error."""
        return math.sqrt(self._drawn_variance + self.apart)

    @cached_property
    def _drawn_variance(self) -> float:
        return float(self.draws.var(ddof=1))

    @cached_property
    def freedom(self) -> float:
        """Return the degrees of freedom of the standard error (Satterthwaite 1946)."""
        found = [(chance.share, chance.freedom) for chance in self.by_system.values()]
        rest = self._drawn_variance - math.fsum(share for share, _ in found)
        if rest > 0 and self.items > 1:
            found.append((rest, self.items - 1))
        spread = math.fsum(share**2 / freedom for share, freedom in found if freedom > 0)
        total = self._drawn_variance**2
        return min(self.most_freedom, total / spread if spread > 0 else math.inf)

    def interval(self, level: float = INTERVAL) -> tuple[float, float]:
        """Return Student's interval."""
        room = _quantile((1 + level) / 2, self.freedom) * self.deviation
        return self.value - room, self.value + room

    def p_above(self, limit: float = 0.0) -> float:
        """Return the one-sided p-value of "above the limit".

        It is never below what the number of resamples can tell (Noreen 1989).
        """
        least = 1 / (len(self.draws) + 1)
        if self.deviation == 0:
            return least if self.value > limit else 1.0
        return max(least, _tail((self.value - limit) / self.deviation, self.freedom))

    def p_below(self, limit: float = 0.0) -> float:
        """Return the one-sided p-value of "below the limit"."""
        return replace(self, value=-self.value).p_above(-limit)

    def p_differs(self) -> float:
        """Return the two-sided p-value of "not zero"."""
        return min(1.0, 2 * min(self.p_above(), self.p_below()))

    def p_within(self, margin: float) -> float:
        """Return the p-value of two one-sided tests for equivalence (Schuirmann 1987)."""
        return max(self.p_above(-margin), self.p_below(margin))

    def p_outside(self, margin: float) -> float:
        """Return the p-value of "further from zero than the margin", on either side."""
        return min(1.0, 2 * min(self.p_above(margin), self.p_below(-margin)))

    def visible(self, alpha: float, power: float, *, sides: int = 2) -> float:
        """Return the smallest effect that a test of this standard error finds with this power."""
        error, miss = (_quantile(p, self.freedom) for p in (1 - alpha / sides, power))
        return (error + miss) * self.deviation


def _tail(statistic: float, freedom: float) -> float:
    """Return the probability that Student's t is above a value; normal where freedom is inf."""
    from scipy.special import ndtr, stdtr

    return float(ndtr(-statistic) if math.isinf(freedom) else stdtr(freedom, -statistic))


def _quantile(share: float, freedom: float) -> float:
    from scipy.special import ndtri, stdtrit

    return float(ndtri(share) if math.isinf(freedom) else stdtrit(freedom, share))


def combine(parts: Sequence[tuple[float, Estimate]]) -> Estimate:
    """Return a weighted sum; what was scored on the same items stays paired."""
    trained = [part.seeds for _, part in parts if part.seeds]
    draws = sum(weight * part.draws for weight, part in parts)
    return Estimate(
        value=math.fsum(weight * part.value for weight, part in parts),
        draws=draws,  # type: ignore[arg-type]
        seeds=min(trained, default=0),
        by_system=_together(parts),
        items=min((part.items for _, part in parts if part.items), default=0),
        apart=math.fsum(weight**2 * part.apart for weight, part in parts),
        most_freedom=min((part.most_freedom for _, part in parts), default=math.inf),
    )


def _together(parts: Sequence[tuple[float, Estimate]]) -> dict[str, SeedChance]:
    """Add up the weights of each system: its seeds are the same wherever it stands."""
    found: dict[str, SeedChance] = {}
    for weight, part in parts:
        for name, chance in part.by_system.items():
            own = weight * chance.weight + (found[name].weight if name in found else 0.0)
            found[name] = replace(chance, weight=own)
    return found


def difference(one: Estimate, other: Estimate) -> Estimate:
    """Return one less the other."""
    return combine([(1.0, one), (-1.0, other)])


def mean_of(parts: Sequence[Estimate]) -> Estimate:
    """Return the mean."""
    return combine([(1 / len(parts), part) for part in parts])


def slope_of(parts: Sequence[Estimate], places: Sequence[float]) -> Estimate:
    """Return the least-squares slope of some quantities over fixed places.

    The quantities are what a slope has to go by, so its degrees of freedom are theirs less two, and
    its variance is at least that of their scatter around the line: three pairs that are measured
    to a hundredth still are three pairs.

    Raises:
        ValueError: All places are one, or there are fewer than three.
    """
    middle = math.fsum(places) / len(places)
    spread = math.fsum((place - middle) ** 2 for place in places)
    if spread <= 0 or len(places) < 3:
        raise ValueError("a slope with its error needs three places, of which two differ")
    slope = combine(
        [((place - middle) / spread, part) for place, part in zip(places, parts, strict=True)]
    )
    freedom = len(places) - 2
    around = _squares_around(slope.value, parts, places, middle) / freedom / spread
    apart = max(0.0, around - slope.deviation**2)
    return replace(slope, apart=slope.apart + apart, most_freedom=float(freedom))


def _squares_around(
    slope: float, parts: Sequence[Estimate], places: Sequence[float], middle: float
) -> float:
    mean = math.fsum(part.value for part in parts) / len(parts)
    return math.fsum(
        (part.value - mean - slope * (place - middle)) ** 2
        for part, place in zip(parts, places, strict=True)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979): step down, monotone, at most 1."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
