"""chrF++ of translations, as sacreBLEU computes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hub.text import normal_target

CHRF_WORD_ORDER: Final = 2


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Return corpus chrF++ (Popović 2017: character 6-grams, word bigrams, β = 2), 0 to 100."""
    return chrf_and_signature(hypotheses, references)[0]


def chrf_and_signature(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[float, str]:
    """Return corpus chrF++ and sacreBLEU's signature: what makes the value comparable."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF(word_order=CHRF_WORD_ORDER)
    score = metric.corpus_score(list(hypotheses), [[normal_target(text) for text in references]])
    return float(score.score), str(metric.get_signature())
