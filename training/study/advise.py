"""`hub advise`: from measured cells to the smallest adapter that should do for a new pair.

The gap to full fine-tuning, in chrF++, is predicted by ridge regression (Hoerl & Kennard 1970), a
model for each method, from what is known before training: the trained share of the base, the
data's size, the pair's distance, the base's own score on the pair, the base's size and the share of
pieces that it cannot spell. How good that is, is measured by leaving one pair out at a time; the
interval is a quantile of those errors (a jackknife over pairs, as in Barber et al. 2021). Where the
new pair lies outside of what the cells have, there is no answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from training.study.results import Results, System
from training.study.tables import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]

RIDGE: Final = 1.0
LEAST_PAIRS: Final = 3
COVERAGE: Final = 0.9
BEYOND: Final = 0.1
"""Share of a feature's range by which a new pair may lie outside of it."""


@dataclass(frozen=True)
class Features:
    """What is known of a case before anything is trained.

    Attributes:
        budget: Trained share of the base's parameters.
        segments: To train on.
        distance: Of the pair.
        base_score: chrF++ of the untrained base on the pair.
        parameters: Of the base.
        unspelt: Share of the target's pieces that the base's vocabulary lacks.
    """

    budget: float
    segments: int
    distance: float
    base_score: float
    parameters: int
    unspelt: float

    def numbers(self) -> dict[str, float]:
        """Return them on the scales that the regression is linear in."""
        return {
            "budget (log10)": math.log10(self.budget),
            "segments (log10)": math.log10(self.segments),
            "distance": self.distance,
            "base chrF++": self.base_score,
            "parameters (log10)": math.log10(self.parameters),
            "unspelt": self.unspelt,
        }


@dataclass(frozen=True)
class Case:
    """A measured system as an example: what was known, and the gap that came out."""

    pair: str
    kind: str
    features: Features
    gap: float
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """An expected gap to full fine-tuning.

    Attributes:
        low: End of the interval, and so is `high`.
        outside: Features outside of the cells' range, in words; the prediction is void then.
    """

    gap: float
    low: float
    high: float
    outside: tuple[str, ...] = ()


class Model:
    """Ridge regression of the gap, for one kind of method."""

    def __init__(self, cases: Sequence[Case]) -> None:
        """Fit.

        Args:
            cases: Of one kind.
        """
        import numpy as np

        self.cases = tuple(cases)
        self.names = tuple(cases[0].features.numbers())
        table = np.array([list(case.features.numbers().values()) for case in cases])
        self._low, self._high = table.min(axis=0), table.max(axis=0)
        self._middle, deviation = table.mean(axis=0), table.std(axis=0)
        # What never changed in the cells says nothing.
        self._scale = np.where(deviation > 1e-9, deviation, np.inf)
        scaled = (table - self._middle) / self._scale
        gaps = np.array([case.gap for case in cases])
        self._mean = float(gaps.mean())
        # Cases of one pair are no further looks at what is the pair's alone.
        penalty = RIDGE * len(cases) / len({case.pair for case in cases})
        square = scaled.T @ scaled + penalty * np.eye(len(self.names))
        self._weights = np.linalg.solve(square, scaled.T @ (gaps - self._mean))

    def gap(self, features: Features) -> float:
        """Return the expected gap."""
        import numpy as np

        row = np.array(list(features.numbers().values()))
        return self._mean + float((row - self._middle) / self._scale @ self._weights)

    def outside(self, features: Features) -> tuple[str, ...]:
        """Return the features that lie outside of what the cells have, in words."""
        found = []
        numbers = features.numbers()
        for index, name in enumerate(self.names):
            low, high = float(self._low[index]), float(self._high[index])
            room = max(BEYOND * (high - low), 1e-6 + BEYOND * abs(high) * (high == low))
            if not low - room <= numbers[name] <= high + room:
                found.append(f"{name} {numbers[name]:.3g}, cells have {low:.3g} to {high:.3g}")
        return tuple(found)


def cases_of(results: Results) -> list[Case]:
    """Return the adapters whose base, full fine-tuning and distance are known."""
    found = []
    for system in results.systems:
        features = _features(results, system)
        gap = results.gap(system) if system.is_adapter else None
        if features is not None and gap is not None:
            found.append(Case(system.pair, system.kind, features, gap.value, system.cells))
    return found


def _features(results: Results, system: System) -> Features | None:
    base, far = results.base_of(system), results.distances.get(system.pair)
    if base is None or far is None or not system.is_adapter:
        return None
    return Features(
        budget=system.fraction,
        segments=system.train,
        distance=far,
        base_score=base.quality.value,
        parameters=int(base.runs[0]["parameters"]),
        unspelt=float(base.runs[0]["unspelt"]),
    )


def by_kind(cases: Sequence[Case]) -> Mapping[str, list[Case]]:
    """Return cases by what is trained."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.kind, []).append(case)
    return found


def left_out_errors(cases: Sequence[Case]) -> list[float]:
    """Return predicted less measured gap of every case, from the cases of other pairs alone."""
    errors = []
    for pair in dict.fromkeys(case.pair for case in cases):
        others = [case for case in cases if case.pair != pair]
        if len({case.pair for case in others}) < LEAST_PAIRS - 1:
            continue
        model = Model(others)
        errors += [model.gap(c.features) - c.gap for c in cases if c.pair == pair]
    return errors


def half_width(errors: Sequence[float]) -> float:
    """Return what covers the share COVERAGE of errors: the conformal quantile."""
    sizes = sorted(abs(error) for error in errors)
    rank = math.ceil((len(sizes) + 1) * COVERAGE)
    return sizes[min(rank, len(sizes)) - 1]


def predict(cases: Sequence[Case], features: Features) -> Prediction | None:
    """Return the expected gap; None where there are too few pairs to know the error."""
    errors = left_out_errors(cases)
    if not errors:
        return None
    model = Model(cases)
    gap, room = model.gap(features), half_width(errors)
    return Prediction(gap, gap - room, gap + room, model.outside(features))


def prediction_errors(results: Results) -> Grid:
    """Return how well gaps of left-out pairs are predicted, for the report."""
    rows = [tuple(_error_row(kind, own)) for kind, own in by_kind(cases_of(results)).items()]
    columns = (
        "method", ">pairs", ">systems", ">mean absolute error", ">always the mean",
        f">{COVERAGE:.0%} of errors within",
    )  # fmt: skip
    remark = (
        "hub advise predicts the gap to full fine-tuning in chrF++. Errors are of pairs that were "
        "left out of the fit. Always the mean: the error of predicting the other pairs' mean gap; "
        "a model that is no better than that knows nothing."
    )
    return Grid("How well hub advise predicts a new pair", columns, tuple(rows), remark)


def _error_row(kind: str, cases: Sequence[Case]) -> Iterator[str]:
    pairs = {case.pair for case in cases}
    yield from (kind, str(len(pairs)), str(len(cases)))
    errors = left_out_errors(cases)
    if not errors:
        yield from (f"needs {LEAST_PAIRS} pairs", "", "")
        return
    plain = [
        sum(o.gap for o in cases if o.pair != c.pair) / sum(o.pair != c.pair for o in cases) - c.gap
        for c in cases
    ]
    yield f"{sum(map(abs, errors)) / len(errors):.2f}"
    yield f"{sum(map(abs, plain)) / len(plain):.2f}"
    yield f"{half_width(errors):.2f}"
