"""`hub advise`: from measured cells to the smallest adapter that should do for a new pair.

The gap to full fine-tuning, in chrF++, is predicted by ridge regression (Hoerl & Kennard 1970), a
model for each method, from what is known before training: the trained share of the base, the
data's size, the pair's distance, the base's own score on the pair, the base's size and the share of
pieces that it cannot spell. Few pairs bear few features, so the model takes those of a ladder, from
none upwards, that predict pairs best which were left out.

How good that is, is measured by leaving one more pair out, with the choice of features made anew
without it (nested cross-validation, Stone 1974). The interval is Student's for a new pair, with a
degree of freedom for each pair but one: cells of one pair are no further looks at how pairs differ.
Where the mean of the cells does about as well, and where the new pair lies outside of what they
have, there is no answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from training.study.results import Results, System
from training.study.tables import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]

RIDGE: Final = 1.0
BUDGET: Final = "budget (log10)"
SEGMENTS: Final = "segments (log10)"
BASE_SCORE: Final = "base chrF++"
DISTANCE: Final = "distance"
LADDER: Final = (
    (),
    (BUDGET,),
    (BUDGET, SEGMENTS),
    (BUDGET, SEGMENTS, BASE_SCORE),
    (BUDGET, SEGMENTS, DISTANCE),
    (BUDGET, SEGMENTS, BASE_SCORE, DISTANCE),
    (BUDGET, SEGMENTS, BASE_SCORE, DISTANCE, "parameters (log10)", "unspelt"),
)
"""Features that a model may go by, fewest first."""
OF_CELLS: Final = frozenset({BUDGET, SEGMENTS})
"""Features that differ within a pair; the others are a pair's alone."""
OF_ONE_PAIR: Final = (BUDGET, SEGMENTS)
"""What the cells of a single pair can tell."""
CLDR: Final = "cldr"
ROUNDING: Final = 1e-9
LEAST_GAIN: Final = 0.05
"""Share of the mean's error by which predictions must be better before they are given."""
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
        text: "cldr", or "files" where the text is the user's own.
    """

    budget: float
    segments: int
    distance: float
    base_score: float
    parameters: int
    unspelt: float
    text: str = "cldr"

    def numbers(self) -> dict[str, float]:
        """Return them on the scales that the regression is linear in."""
        return {
            BUDGET: math.log10(self.budget),
            SEGMENTS: math.log10(self.segments),
            DISTANCE: self.distance,
            BASE_SCORE: self.base_score,
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
        why_not: Why the prediction is void, in words; empty where it holds.
    """

    gap: float
    low: float
    high: float
    why_not: tuple[str, ...] = ()


class Model:
    """Ridge regression of the gap, for one kind of method, on some features."""

    def __init__(self, cases: Sequence[Case], names: Sequence[str]) -> None:
        """Fit.

        Args:
            cases: Of one kind.
            names: Features to go by; of none the mean is left.
        """
        import numpy as np

        self.names = tuple(names)
        table = np.array([self._row(case.features) for case in cases])
        self._middle, deviation = table.mean(axis=0), table.std(axis=0)
        # What never changed in the cells says nothing.
        self._scale = np.where(deviation > 1e-9, deviation, np.inf)
        scaled = (table - self._middle) / self._scale
        gaps = np.array([case.gap for case in cases])
        self._mean = float(gaps.mean())
        # Cases of one pair are no further looks at what is the pair's alone.
        each = RIDGE * len(cases) / len({case.pair for case in cases})
        penalty = np.diag([RIDGE if name in OF_CELLS else each for name in self.names])
        self._weights = np.linalg.solve(scaled.T @ scaled + penalty, scaled.T @ (gaps - self._mean))

    def _row(self, features: Features) -> list[float]:
        numbers = features.numbers()
        return [numbers[name] for name in self.names]

    def gap(self, features: Features) -> float:
        """Return the expected gap."""
        import numpy as np

        row = (np.array(self._row(features)) - self._middle) / self._scale
        return self._mean + float(row @ self._weights)


def outside(cases: Sequence[Case], features: Features) -> tuple[str, ...]:
    """Return the features that lie outside of what the cases have, in words."""
    found = []
    for name, value in features.numbers().items():
        own = [case.features.numbers()[name] for case in cases]
        low, high = min(own), max(own)
        room = max(BEYOND * (high - low), 1e-6 + BEYOND * abs(high) * (high == low))
        if not low - room <= value <= high + room:
            found.append(_worded(name, value, low, high))
    return tuple(found)


def _worded(name: str, value: float, low: float, high: float) -> str:
    """Tell a feature and its range in the units that people know it by."""
    figures = [10**each if name.endswith("(log10)") else each for each in (value, low, high)]
    new, least, most = (f"{each:,.0f}" if each >= 100 else f"{each:.3g}" for each in figures)
    return f"{name.removesuffix(' (log10)')} {new}, cells have {least} to {most}"


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
        text=kind_of_text(str(base.runs[0].get("corpus", CLDR))),
    )


def kind_of_text(corpus: str) -> str:
    """Return what text a corpus of that name is: CLDR's phrases, or the user's own files."""
    return CLDR if corpus == CLDR else "files"


def by_kind(cases: Sequence[Case]) -> Mapping[str, list[Case]]:
    """Return cases by what is trained."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.kind, []).append(case)
    return found


def _pairs(cases: Sequence[Case]) -> list[str]:
    return list(dict.fromkeys(case.pair for case in cases))


def _error(by_pair: Mapping[str, Sequence[float]]) -> float:
    """Return the root mean square of errors; each pair counts alike.

    Squares and not absolute values: where whole pairs lie to one side, the mean of the latter is
    the same for any slope over the budget.
    """
    return math.sqrt(fmean(fmean(error**2 for error in own) for own in by_pair.values()))


def _left_out(
    cases: Sequence[Case], fit: Callable[[Sequence[Case]], Model]
) -> dict[str, list[float]]:
    """Return predicted less measured gaps by pair, from the cases of other pairs alone."""
    found = {}
    for pair in _pairs(cases):
        model = fit([case for case in cases if case.pair != pair])
        found[pair] = [model.gap(c.features) - c.gap for c in cases if c.pair == pair]
    return found


def chosen(cases: Sequence[Case]) -> tuple[str, ...]:
    """Return the features of the ladder that predict left-out pairs best; of equals the fewest."""
    if len(_pairs(cases)) < 2:
        return OF_ONE_PAIR
    errors = [_error(_left_out(cases, partial(Model, names=names))) for names in LADDER]
    least = min(errors)
    return next(
        names for names, error in zip(LADDER, errors, strict=True) if error <= least + ROUNDING
    )


def fitted(cases: Sequence[Case]) -> Model:
    """Return a model on the features that the cases bear."""
    return Model(cases, chosen(cases))


def left_out_errors(cases: Sequence[Case]) -> dict[str, list[float]]:
    """Return the errors by pair, of models that were chosen and fitted without the pair.

    Empty where there are too few pairs to know.
    """
    return _left_out(cases, fitted) if len(_pairs(cases)) >= LEAST_PAIRS else {}


def mean_errors(cases: Sequence[Case]) -> dict[str, list[float]]:
    """Return the errors by pair of predicting the mean gap of the other pairs."""
    return _left_out(cases, lambda others: Model(others, ()))


def half_width(errors: Mapping[str, Sequence[float]]) -> float:
    """Return half of the interval for a new pair, at the share COVERAGE.

    Student's, of the root mean square of pairs' errors: it takes errors of pairs for normal, and
    cells of a pair for one look at it.
    """
    from scipy.special import stdtrit

    return float(stdtrit(len(errors) - 1, (1 + COVERAGE) / 2)) * _error(errors)


def predict(cases: Sequence[Case], features: Features) -> Prediction | None:
    """Return the expected gap; None where there are too few pairs to know the error.

    Args:
        cases: Of one kind, and on the same sort of text.
        features: Of the new pair.
    """
    errors = left_out_errors(cases)
    if not errors:
        return None
    gap, room = fitted(cases).gap(features), half_width(errors)
    return Prediction(
        gap, gap - room, gap + room, (*_useless(cases, errors), *outside(cases, features))
    )


def _useless(cases: Sequence[Case], errors: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """Return that the mean of the cells would do as well, in words; nothing where it would not."""
    own, plain = _error(errors), _error(mean_errors(cases))
    if own < (1 - LEAST_GAIN) * plain:
        return ()
    return (
        f"of pairs that were left out, predictions are off by {own:.2f} chrF++ and the mean of the "
        f"others by {plain:.2f}",
    )


def prediction_errors(results: Results) -> Grid:
    """Return how well gaps of left-out pairs are predicted, for the report."""
    rows = [tuple(_error_row(kind, own)) for kind, own in by_kind(cases_of(results)).items()]
    columns = (
        "method", ">pairs", ">systems", "goes by", ">error", ">always the mean",
        f">± of {COVERAGE:.0%}", "answers",
    )  # fmt: skip
    remark = (
        "hub advise predicts the gap to full fine-tuning in chrF++. Errors are of pairs that were "
        "left out of the choice of features and of the fit (root mean square). Always the mean: "
        "the error of predicting the other pairs' mean gap; a model that is not better "
        f"than that by {LEAST_GAIN:.0%} knows nothing, and hub advise says so."
    )
    return Grid("How well hub advise predicts a new pair", columns, tuple(rows), remark)


def _error_row(kind: str, cases: Sequence[Case]) -> Iterator[str]:
    yield from (kind, str(len(_pairs(cases))), str(len(cases)))
    errors = left_out_errors(cases)
    if not errors:
        yield from ("", f"needs {LEAST_PAIRS} pairs", "", "", "I do not know")
        return
    varied = [name for name in chosen(cases) if _varies(cases, name)]
    yield ", ".join(varied) or "nothing"
    yield f"{_error(errors):.2f}"
    yield f"{_error(mean_errors(cases)):.2f}"
    yield f"{half_width(errors):.2f}"
    yield "I do not know" if _useless(cases, errors) else "yes"


def _varies(cases: Sequence[Case], name: str) -> bool:
    return len({case.features.numbers()[name] for case in cases}) > 1
