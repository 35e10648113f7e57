"""How many people would agree with a metric that one system is better than another.

Source: Kocmi, Zouhar, Federmann & Post, "Navigating the Metrics Maze: Reconciling Score Magnitudes
and Accuracies" (ACL 2024, arXiv 2401.06760): the share of pairs of systems on which human raters
and a metric agree, as a curve over the metric's difference. The two figures of chrF's curve are
those that the authors publish with their tool (mt-thresholds 1.0.4). They have none for chrF++, so
plain chrF is computed, from those of chrF++'s statistics that it shares.

The curve is of news and similar texts, sentence by sentence, on pairs of systems of whatever kind.
It says little of short phrases, and nothing of one item.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from training.study.axes import FULL
from training.study.resampling import CHRF_KINDS, chrf_of
from training.study.results import Results, System
from training.study.tables import Grid

if TYPE_CHECKING:
    from training.study.file import StudyFile

CHANCE: Final = 50.0
CEILING: Final = 92.999999999972
"""Percent of agreement that the curve of chrF comes to."""
STEEPNESS: Final = 1.1142732157139852
"""Of that curve, for one point of chrF."""


def expected_agreement(chrf: float) -> float:
    """Return the percent of people's verdicts that agree with a difference in chrF.

    The curve goes through 46.5 at no difference; what is below 50 is chance, and is given as 50.
    """
    return max(CHANCE, CEILING / (1 + math.exp(-STEEPNESS * abs(chrf))))


def plain_chrf(system: System) -> float:
    """Return chrF without words, mean over the seeds."""
    scores = [float(chrf_of(run[:, :CHRF_KINDS].sum(axis=0))) for run in system.statistics]
    return sum(scores) / len(scores)


def agreement_table(study: StudyFile, results: Results) -> Grid:
    """Return what people would make of the claimed adapter against full fine-tuning."""
    asked, rows = study.claims, []
    for system in results.systems:
        full = results.full_of(system)
        claimed = system.method == asked.method and system.budget in (asked.budget, None)
        if claimed and full is not None and system.method != FULL:
            gap = plain_chrf(full) - plain_chrf(system)
            whole = full.quality.value - system.quality.value
            rows.append(
                (
                    system.base,
                    system.pair,
                    f"{system.train:,}",
                    f"{whole:+.2f}",
                    f"{gap:+.2f}",
                    f"{expected_agreement(gap):.0f} %",
                    _better(whole, gap, system.method),
                )
            )
    columns = (
        "base", "pair", ">segments", ">full less adapter, chrF++", ">the same in chrF",
        ">people who would agree", "that better is",
    )  # fmt: skip
    remark = (
        "Expected agreement of human raters with a difference in chrF, by the curve of Kocmi et "
        "al. (ACL 2024, arXiv 2401.06760); 50 % is chance. The curve was found on whole sentences "
        "of news and the like: for phrases of CLDR it is no more than a hint. No telling: people "
        "would be at chance, or chrF++ and chrF do not agree on which is better."
    )
    return Grid("What people would make of it", columns, tuple(rows), remark)


def _better(whole: float, plain: float, adapter: str) -> str:
    """Name the better system, from full fine-tuning less the adapter in chrF++ and in chrF."""
    if whole * plain <= 0 or expected_agreement(plain) <= CHANCE:
        return "no telling"
    return "full fine-tuning" if plain > 0 else adapter
