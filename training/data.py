"""Corpus lines to examples; what the base has no positions for is left out, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.errors import CorpusError
from training.batching import Example

if TYPE_CHECKING:
    from hub.bases.tokenizer import BaseTokenizer
    from hub.languages import LanguagePair
    from training.corpora import SentencePair


@dataclass(frozen=True)
class EncodedCorpus:
    """Examples to train on, and how many lines were too long to be one."""

    examples: tuple[Example, ...]
    too_long: int


def fitting(
    segments: Sequence[SentencePair],
    pair: LanguagePair,
    tokenizer: BaseTokenizer,
    *,
    max_positions: int,
) -> tuple[SentencePair, ...]:
    """Return the segments that the base can translate whole.

    Raises:
        CorpusError: None can be.
    """
    kept = tuple(
        segment
        for segment in segments
        if len(tokenizer.encode_source(segment.source, pair.source, pair.target)) <= max_positions
    )
    if not kept:
        raise CorpusError(f"none of {len(segments)} segments fits {max_positions} positions")
    return kept


def encode_corpus(
    segments: Sequence[SentencePair],
    pair: LanguagePair,
    tokenizer: BaseTokenizer,
    *,
    max_positions: int,
) -> EncodedCorpus:
    """Encode segments; none is cut short.

    Raises:
        CorpusError: No segment fits the base's positions.
    """
    encoded = (
        Example(
            source=tuple(tokenizer.encode_source(segment.source, pair.source, pair.target)),
            target=tuple(tokenizer.encode_target(segment.target, pair.target)),
            line=line,
        )
        for line, segment in enumerate(segments)
    )
    fitting = tuple(example for example in encoded if max(example.lengths) <= max_positions)
    if not fitting:
        raise CorpusError(
            f"none of {len(segments)} training segments fits the base's {max_positions} positions"
        )
    return EncodedCorpus(fitting, len(segments) - len(fitting))
