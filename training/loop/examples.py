"""Corpus lines to examples; what the base has no positions for is left out, and counted."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, overload

from hub.errors import CorpusError
from training.loop.batching import Example

if TYPE_CHECKING:
    from hub.bases.tokenizer import BaseTokenizer
    from hub.languages import LanguagePair
    from training.corpora import SentencePair

UNSPELT_LIMIT: Final = 0.1


class PackedExamples(Sequence[Example]):
    """Examples in 4 bytes per token, each unpacked as it is asked for."""

    def __init__(self, examples: Iterable[Example]) -> None:
        """Take examples in, one after another."""
        self._ids = array("i")
        self._lines = array("q")
        self._starts = array("q")
        self._middles = array("q")
        for example in examples:
            self._starts.append(len(self._ids))
            self._ids.extend(example.source)
            self._middles.append(len(self._ids))
            self._ids.extend(example.target)
            self._lines.append(example.line)
        self._starts.append(len(self._ids))

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        start, middle, end = self._starts[at], self._middles[at], self._starts[at + 1]
        source, target = self._ids[start:middle], self._ids[middle:end]
        return Example(tuple(source), tuple(target), self._lines[at])


@dataclass(frozen=True)
class EncodedCorpus:
    """Examples to train on, and what of the corpus the base cannot take.

    Attributes:
        too_long: Lines left out because the base has no positions for them.
        unspelt: Share of the target's pieces that the base's vocabulary does not have.
    """

    examples: Sequence[Example]
    too_long: int
    unspelt: float


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
        CorpusError: No segment fits the base's positions, or the base cannot spell the target.
    """
    encoded = (
        Example(
            source=tuple(tokenizer.encode_source(segment.source, pair.source, pair.target)),
            target=tuple(tokenizer.encode_target(segment.target, pair.target)),
            line=line,
        )
        for line, segment in enumerate(segments)
    )
    fitting = PackedExamples(
        example for example in encoded if max(example.lengths) <= max_positions
    )
    if not len(fitting):
        raise CorpusError(
            f"none of {len(segments)} training segments fits the base's {max_positions} positions"
        )
    unspelt = _unspelt(fitting, tokenizer.unk_id)
    if unspelt > UNSPELT_LIMIT:
        raise CorpusError(
            f"{unspelt:.0%} of the target's pieces are not in the base's vocabulary, above the "
            f"limit of {UNSPELT_LIMIT:.0%}: no adapter can write {pair.target} with this base",
            field="data",
        )
    return EncodedCorpus(fitting, len(segments) - len(fitting), unspelt)


def _unspelt(examples: Sequence[Example], unk_id: int) -> float:
    total = sum(len(example.target) for example in examples)
    return sum(example.target.count(unk_id) for example in examples) / total
