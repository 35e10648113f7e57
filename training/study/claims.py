"""The paper's four findings as hypotheses on the grid at hand.

Findings of Üstün & Cooper Stickland (EMNLP 2022, arXiv 2205.11277), each asked of every base (of
every two bases for c). Margin, method and budget are the study file's, so they were said before the
study was run. A claim's verdict follows from two p-values, each adjusted for the number of claims
(Holm 1979):

- *supported*: that of the claim is below alpha;
- *not supported*: else, that of "there is no effect that matters" (one of the margin) or, for
  equivalence, of "further apart than the margin" is below alpha;
- *undecided*: neither, or the grid has not what the claim needs; the smallest effect that could
  have been seen says what it would take.

Claims are about the mean over the pairs at hand. What single pairs say is told beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

from training.study.axes import FULL
from training.study.estimate import Estimate, combine, difference, holm, mean_of, slope_of
from training.study.results import Results, System

if TYPE_CHECKING:
    from training.study.file import StudyFile

Verdict = Literal["supported", "not supported", "undecided"]
Letter = Literal["a", "b", "c", "d"]
TITLES: Final[dict[Letter, str]] = {
    "a": "{method} at {budget} is on par with full fine-tuning",
    "b": "quality falls with the budget, and more for distant pairs",
    "c": "{method} at {budget} on a larger base beats full fine-tuning of a smaller one",
    "d": "with little data {method} beats full fine-tuning of the same base",
}
LEAST_PAIRS: Final = 3
"""For a slope over distances."""
LEAST_SEEDS: Final = 2


@dataclass(frozen=True)
class Part:
    """One estimate that a claim rests on.

    Attributes:
        what: In words.
        estimate: Its value and resamples.
        p_value: Unadjusted.
        p_against: Of there being no effect that matters, or one beyond the margin; unadjusted.
        equivalence: Whether it claims that there is no difference.
        visible: The smallest effect that could have been seen; of an equivalence, the smallest
            margin within which equal systems could have been shown to be. At the level that the
            least of all p-values is tested at, which is alpha over the number of claims.
        by_pair: The same quantity of each pair; empty where it has no such parts.
    """

    what: str
    estimate: Estimate
    p_value: float
    p_against: float
    equivalence: bool = False
    visible: float = math.nan
    by_pair: Mapping[str, float] = field(default_factory=dict)

    def seen_at(self, level: float, power: float) -> float:
        """Return the smallest effect that a test at this level finds with this power."""
        if self.equivalence:
            return self.estimate.visible(2 * level, (1 + power) / 2)
        return self.estimate.visible(level, power)


@dataclass(frozen=True)
class Claim:
    """A finding asked of this grid.

    Attributes:
        about: Which base or bases.
        parts: All must hold; empty where the grid has not what it takes.
        p_value: The largest of the parts', which tests "all of them" (Berger 1982).
        adjusted: Over all claims that could be tested.
        against: The p-value against it, adjusted likewise.
        why: What keeps it undecided, or a remark.
        pairs: How many it rests on.
    """

    letter: Letter
    title: str
    about: str
    parts: tuple[Part, ...]
    verdict: Verdict
    p_value: float | None = None
    adjusted: float | None = None
    against: float | None = None
    why: str = ""
    pairs: int = 0

    @property
    def sentence(self) -> str:
        """Return what the claim came to, in one sentence."""
        figures = "; ".join(_figures(part) for part in self.parts)
        chance = "" if self.adjusted is None else f", adjusted p {self.adjusted:.3g}"
        rest = f" ({self.why})" if self.why else ""
        return (
            f"({self.letter}) {self.title}, {self.about}: {self.verdict}. {figures}{chance}{rest}"
        )


def _figures(part: Part) -> str:
    low, high = part.estimate.interval()
    seen = "margin that could be shown" if part.equivalence else "effect that could be seen"
    pairs = sorted(part.by_pair, key=lambda pair: part.by_pair[pair])
    ends = [f"{pair} {part.by_pair[pair]:+.2f}" for pair in (*pairs[:1], *pairs[1:][-1:])]
    return (
        f"{part.what} {part.estimate.value:+.2f} (95 % interval {low:+.2f} to {high:+.2f}; "
        f"smallest {seen} {part.visible:.2f}" + "".join(f"; {end}" for end in ends) + ")"
    )


def judge(study: StudyFile, results: Results) -> list[Claim]:
    """Return the claims with their verdicts."""
    drafts = list(_drafts(study, results))
    tested = [draft for draft in drafts if draft.p_value is not None]
    adjusted = iter(holm([draft.p_value for draft in tested if draft.p_value is not None]))
    against = iter(holm([_against(draft) for draft in tested]))
    level = study.claims.alpha / max(1, len(tested))
    return [
        _seen(study, draft, level)
        if draft.p_value is None
        else _decided(study, _seen(study, draft, level), next(adjusted), next(against))
        for draft in drafts
    ]


def _against(draft: Claim) -> float:
    """Return the p-value of any part being refuted (Bonferroni over the parts)."""
    return min(1.0, len(draft.parts) * min(part.p_against for part in draft.parts))


def _seen(study: StudyFile, draft: Claim, level: float) -> Claim:
    power = study.claims.power
    parts = (replace(part, visible=part.seen_at(level, power)) for part in draft.parts)
    return replace(draft, parts=tuple(parts))


def _decided(study: StudyFile, draft: Claim, adjusted: float, against: float) -> Claim:
    verdict: Verdict = "undecided"
    if adjusted < study.claims.alpha:
        verdict = "supported"
    elif against < study.claims.alpha:
        verdict = "not supported"
    return replace(draft, verdict=verdict, adjusted=adjusted, against=against)


def _drafts(study: StudyFile, results: Results) -> Iterator[Claim]:
    bases = results.bases
    for base in bases:
        yield _on_par(study, results, base)
    for base in bases:
        yield _falls(study, results, base)
    for small, large in pairwise(bases):
        yield _larger(study, results, small, large)
    for base in bases:
        yield _little_data(study, results, base)


def _draft(
    study: StudyFile, letter: Letter, about: str, pairs: int, parts: Sequence[Part], missing: str
) -> Claim:
    """Put a claim together; without parts, or with one seed, it stays undecided."""
    asked = study.claims
    title = TITLES[letter].format(method=asked.method, budget=f"{100 * asked.budget:g} %")
    lonely = [part for part in parts if 0 < part.estimate.seeds < LEAST_SEEDS]
    if lonely:
        missing = "one seed says nothing of what another would do; give two or more"
    if missing or not parts:
        return Claim(letter, title, about, tuple(parts), "undecided", why=missing, pairs=pairs)
    p_value = max(part.p_value for part in parts)
    return Claim(letter, title, about, tuple(parts), "undecided", p_value=p_value, pairs=pairs)


def _claimed(study: StudyFile, results: Results, base: str, pair: str, train: int) -> System | None:
    """Return the system that claims are about, with or without a size."""
    asked = study.claims
    sized = results.find(base, pair, asked.method, asked.budget, train)
    return sized or results.find(base, pair, asked.method, None, train)


def _differences(
    study: StudyFile,
    results: Results,
    peft_base: str,
    full_base: str,
    train: int,
) -> dict[str, Estimate]:
    """Return adapter less full fine-tuning, pair by pair where both are there."""
    found = {}
    for pair in results.pairs:
        peft = _claimed(study, results, peft_base, pair, train)
        full = results.find(full_base, pair, FULL, None, train)
        if peft and full:
            found[pair] = difference(peft.quality, full.quality)
    return found


def _values(found: Mapping[str, Estimate]) -> dict[str, float]:
    return {pair: each.value for pair, each in found.items()} if len(found) > 1 else {}


def _mean_above_zero(study: StudyFile, what: str, found: Mapping[str, Estimate]) -> Part:
    """Return a part that claims a mean over pairs above zero."""
    return replace(_above_zero(study, what, mean_of(list(found.values()))), by_pair=_values(found))


def _above_zero(study: StudyFile, what: str, estimate: Estimate) -> Part:
    """Return a part that claims an effect above zero, tested on both sides."""
    return Part(
        what=what,
        estimate=estimate,
        p_value=estimate.p_differs() if estimate.value > 0 else 1.0,
        p_against=estimate.p_below(study.claims.margin),
    )


def _on_par(study: StudyFile, results: Results, base: str) -> Claim:
    asked, train = study.claims, max(results.sizes, default=0)
    found = _differences(study, results, base, base, train)
    if not found:
        return _draft(study, "a", base, 0, (), _lacking(study, "full fine-tuning", train))
    mean = mean_of(list(found.values()))
    part = Part(
        what=f"adapter less full, margin ±{asked.margin:g}:",
        estimate=mean,
        p_value=mean.p_within(asked.margin),
        p_against=mean.p_outside(asked.margin),
        equivalence=True,
        by_pair=_values(found),
    )
    return _draft(study, "a", base, len(found), (part,), "")


def _falls(study: StudyFile, results: Results, base: str) -> Claim:
    """Ask for a drop from the largest budget to the smallest, and for its slope over distance."""
    asked, train = study.claims, max(results.sizes, default=0)
    budgets = sorted(
        {s.budget for s in results.systems if s.method == asked.method and s.budget is not None}
    )
    drops: dict[str, Estimate] = {}
    for pair in results.pairs if len(budgets) > 1 else ():
        most, least = (
            results.find(base, pair, asked.method, budget, train)
            for budget in (budgets[-1], budgets[0])
        )
        if most and least:
            drops[pair] = difference(most.quality, least.quality)
    if not drops:
        return _draft(study, "b", base, 0, (), "the grid has not two budgets of this method")
    span = f"{100 * budgets[-1]:g} % less {100 * budgets[0]:g} %:"
    parts = [_mean_above_zero(study, span, drops)]
    placed = [pair for pair in drops if pair in results.distances]
    places = [results.distances[pair] for pair in placed]
    if len(set(places)) < LEAST_PAIRS:
        why = f"a slope needs {LEAST_PAIRS} pairs of different known distance"
        return _draft(study, "b", base, len(drops), parts, why)
    slope = slope_of([drops[pair] for pair in placed], places)
    scaled = combine([(max(places) - min(places), slope)])
    what = "that drop, farthest pair less closest, by its slope over distance:"
    parts.append(_above_zero(study, what, scaled))
    return _draft(study, "b", base, len(drops), parts, "")


def _larger(study: StudyFile, results: Results, small: str, large: str) -> Claim:
    train, about = max(results.sizes, default=0), f"{large} over {small}"
    found = _differences(study, results, large, small, train)
    if not found:
        return _draft(study, "c", about, 0, (), _lacking(study, "both bases", train))
    part = _mean_above_zero(study, "adapter less full:", found)
    return _draft(study, "c", about, len(found), (part,), "")


def _little_data(study: StudyFile, results: Results, base: str) -> Claim:
    """Take the smallest data, and the budget that is best on the dev set there."""
    asked, train = study.claims, min(results.sizes, default=0)
    budget = _best_on_dev(study, results, base, train)
    found = {}
    for pair in results.pairs:
        peft = results.find(base, pair, asked.method, budget, train)
        full = results.find(base, pair, FULL, None, train)
        if peft and full:
            found[pair] = difference(peft.quality, full.quality)
    if not found:
        return _draft(study, "d", base, 0, (), _lacking(study, "the smallest data size", train))
    sized = "" if budget is None else f" at {100 * budget:g} % (the best on dev)"
    what = f"adapter{sized} less full, {train:,} segments:"
    part = _mean_above_zero(study, what, found)
    return _draft(study, "d", base, len(found), (part,), "")


def _best_on_dev(study: StudyFile, results: Results, base: str, train: int) -> float | None:
    """Return the budget whose mean dev score is best, of those that every pair has."""
    asked = study.claims
    scores: dict[float | None, list[float]] = {}
    for system in results.systems:
        if (system.base, system.method, system.train) == (base, asked.method, train):
            scores.setdefault(system.budget, []).append(system.mean("dev_chrf++") or 0.0)
    most = max((len(each) for each in scores.values()), default=0)
    whole = {budget: sum(v) / len(v) for budget, v in scores.items() if len(v) == most}
    return max(whole, key=lambda budget: whole[budget], default=None)


def _lacking(study: StudyFile, what: str, train: int) -> str:
    asked = study.claims
    return (
        f"no pair has finished cells of {asked.method} at {100 * asked.budget:g} % and of {what} "
        f"on {train:,} segments"
    )
