"""sacreBLEU scores with their signatures: chrF++, BLEU with the language's tokenizer, exact match.

Every tokenizer used here works without a network. BLEU needs words: Korean is cut by mecab-ko,
Chinese by sacreBLEU's own rules, Japanese by MeCab where it is installed; scripts written without
spaces for which there is no tokenizer are scored by character, everything else by 13a.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Final

from hub.manifest import Metric

UNSPACED: Final = frozenset({"th", "lo", "km", "my", "bo", "dz"})
CHRF_WORD_ORDER: Final = 2
METRICS: Final[tuple[Metric, ...]] = ("chrf++", "bleu", "exact")


@dataclass(frozen=True)
class Score:
    """One score, from 0 to 100, with what is needed to repeat it."""

    metric: Metric
    value: float
    signature: str


@cache
def bleu_tokenizer(language: str) -> str:
    """Return sacreBLEU's name of the tokenizer for a target language in canonical spelling."""
    plain = language.partition("-")[0]
    if plain == "ko":
        return "ko-mecab"
    if plain == "ja":
        return "ja-mecab" if find_spec("MeCab") and find_spec("ipadic") else "char"
    if plain in ("zh", "yue"):
        return "zh"
    return "char" if plain in UNSPACED else "13a"


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Return corpus chrF++ (Popović 2017: character 6-grams, word bigrams, β = 2)."""
    from sacrebleu.metrics.chrf import CHRF

    return float(
        CHRF(word_order=CHRF_WORD_ORDER).corpus_score(list(hypotheses), [list(references)]).score
    )


def score(hypotheses: Sequence[str], references: Sequence[str], language: str) -> tuple[Score, ...]:
    """Score a test set on every metric of `METRICS`.

    Raises:
        ValueError: There are no segments, or not as many hypotheses as references.
    """
    if not references or len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses for {len(references)} references")
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    found = []
    for name, metric in (
        ("chrf++", CHRF(word_order=CHRF_WORD_ORDER)),
        ("bleu", BLEU(tokenize=bleu_tokenizer(language))),
    ):
        value = metric.corpus_score(list(hypotheses), [list(references)]).score
        found.append(Score(_metric(name), float(value), str(metric.get_signature())))
    return (*found, _exact(hypotheses, references))


def _metric(name: str) -> Metric:
    return next(metric for metric in METRICS if metric == name)


def _exact(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    same = sum(
        _plain(one) == _plain(other) for one, other in zip(hypotheses, references, strict=True)
    )
    return Score("exact", 100.0 * same / len(references), "nrefs:1|case:mixed|form:NFC|strip:yes")


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()
