"""The golden lines of an adapter: chosen from its dev set, translated by the serving engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hub.chrf import chrf_and_signature
from hub.golden import (
    MAX_GOLDEN_CHARACTERS,
    MAX_GOLDEN_TOKENS,
    GoldenLine,
    GoldenLines,
    GoldenSearch,
)
from hub.languages import LanguagePair
from training.evidence.decode import ADAPTER_SLOT, Decoder, spread

if TYPE_CHECKING:
    from training.corpora import SentencePair


def golden_lines(
    decoder: Decoder, pair: LanguagePair, dev: Sequence[SentencePair], count: int
) -> GoldenLines | None:
    """Return golden lines of the placed adapter, evenly spaced over the dev set.

    Dev lines were looked at in training, test lines must not be: these travel with the adapter, and
    whoever serves it looks at them all the time. What counts is not how good they are but whether
    they stay the same. Long lines are left out: a server would refuse them.

    Args:
        decoder: Has the adapter in its slot.
        pair: The direction.
        dev: Where they are taken from.
        count: How many there shall be; 0 for none.

    Returns:
        None where there are none.
    """
    if not count:
        return None
    chosen = spread([one for one in dev if _is_fit(decoder, pair, one)], count)
    if not chosen:
        return None
    texts = decoder.translate(pair, [one.source for one in chosen], ADAPTER_SLOT)
    score, signature = chrf_and_signature(texts, [one.target for one in chosen])
    options = decoder.options(pair)
    return GoldenLines(
        pair=str(pair),
        score=round(score, 4),
        signature=signature,
        numbers=decoder.quantization,
        search=GoldenSearch(
            beam_size=options.beam_size,
            max_new_tokens=options.max_new_tokens,
            length_penalty=options.length_penalty,
            early_stopping=options.early_stopping,
        ),
        lines=tuple(
            GoldenLine(source=one.source, reference=one.target, translation=text)
            for one, text in zip(chosen, texts, strict=True)
        ),
    )


def _is_fit(decoder: Decoder, pair: LanguagePair, one: SentencePair) -> bool:
    lengths = len(one.source), len(one.target)
    return (
        min(lengths) > 0
        and max(lengths) <= MAX_GOLDEN_CHARACTERS
        and decoder.length(pair, one.source) <= MAX_GOLDEN_TOKENS
    )
