"""What is known of an adapter's quality: scores, comparison with its base, scores by length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.languages import LanguagePair
from hub.manifest import ComparisonRecord, LengthRecord, ScoreRecord, System
from training.evidence.decode import ADAPTER_SLOT, BASE_SLOT, Decoder, score_record
from training.evidence.lengths import by_length
from training.evidence.scoring import Measure, Scorer
from training.evidence.significance import compare

if TYPE_CHECKING:
    from training.corpora import SentencePair


@dataclass(frozen=True)
class Evidence:
    """Scores of base and adapter on the same items, decoded and measured the same way.

    Attributes:
        comparisons: Of the adapter with its base, metric by metric.
        lengths: Both by the length of the source.
    """

    scores: tuple[ScoreRecord, ...]
    comparisons: tuple[ComparisonRecord, ...]
    lengths: tuple[LengthRecord, ...]


def gather(decoder: Decoder, pair: LanguagePair, segments: Sequence[SentencePair]) -> Evidence:
    """Decode segments with the base and with the placed adapter, and measure both."""
    sources = [segment.source for segment in segments]
    base, adapter = (decoder.translate(pair, sources, slot) for slot in (BASE_SLOT, ADAPTER_SLOT))
    scorer = Scorer([segment.target for segment in segments], pair.target)
    return weigh(
        sources,
        pair.source,
        base=scorer.measure(base),
        adapter=scorer.measure(adapter),
        decoding=decoder.signature,
    )


def weigh(
    sources: Sequence[str],
    language: str,
    *,
    base: Sequence[Measure],
    adapter: Sequence[Measure],
    decoding: str,
) -> Evidence:
    """Put scores, comparison and scores by length together.

    Args:
        sources: The items' source texts.
        language: What they are written in.
        base: Measures of the base on these items.
        adapter: Measures of the adapter.
        decoding: How both were decoded, for the signatures.
    """
    systems: tuple[tuple[System, Sequence[Measure]], ...] = (("base", base), ("adapter", adapter))
    return Evidence(
        scores=tuple(
            score_record(measure.score, system, decoding, len(sources))
            for system, measures in systems
            for measure in measures
        ),
        comparisons=compare(adapter, base, "base"),
        lengths=by_length(sources, language, base, adapter),
    )
