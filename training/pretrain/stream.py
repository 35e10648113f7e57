"""An endless, seekable stream of training batches.

A chunk of batches follows from (seed, chunk number) alone, so that a run can be resumed at any
update without a stored data set or sampler state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

from hub.bases.tokenizer import M2M100Tokenizer
from hub.errors import CorpusError
from training.pretrain.recipe import BaseRecipe
from training.pretrain.texts import TrainingText

BATCHES_PER_CHUNK = 16
_PREFETCHED_CHUNKS = 2
_MISSES = 1000


@dataclass(frozen=True)
class Example:
    """One encoded pair: encoder input ids and labels."""

    source: tuple[int, ...]
    target: tuple[int, ...]


class PairStream:
    """Batches of similar length in random order."""

    def __init__(self, recipe: BaseRecipe, tokenizer: M2M100Tokenizer, text: TrainingText) -> None:
        """Prepare the stream; nothing is drawn yet."""
        self._recipe = recipe
        self._tokenizer = tokenizer
        self._text = text

    def batches(self, first: int) -> Iterator[list[Example]]:
        """Yield batch number `first` and all that follow, sampling ahead in the background."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            chunk, skip = divmod(first, BATCHES_PER_CHUNK)
            ahead: list[Future[list[list[Example]]]] = [
                pool.submit(self.chunk, chunk + step) for step in range(_PREFETCHED_CHUNKS)
            ]
            while True:
                batches = ahead.pop(0).result()
                chunk += 1
                ahead.append(pool.submit(self.chunk, chunk + _PREFETCHED_CHUNKS - 1))
                yield from batches[skip:]
                skip = 0

    def chunk(self, number: int) -> list[list[Example]]:
        """Return the batches of one chunk, in training order."""
        rng = Random(f"{self._recipe.seed}:chunk:{number}")
        budget = self._recipe.batch_tokens
        examples: list[Example] = []
        tokens = 0
        missed = 0
        while tokens < budget * BATCHES_PER_CHUNK:
            example = self._example(rng)
            if example is not None:
                examples.append(example)
                tokens += len(example.target)
            missed = 0 if example else missed + 1
            if missed == _MISSES:
                raise CorpusError(
                    f"none of {_MISSES:,} drawn segments has at most "
                    f"{self._recipe.max_positions} tokens, the base's positions; cut the text into "
                    "sentences"
                )
        examples.sort(key=lambda example: (len(example.target), len(example.source)))
        batches = _cut(examples, BATCHES_PER_CHUNK)
        rng.shuffle(batches)
        return batches

    def _example(self, rng: Random) -> Example | None:
        phrase = self._text.draw(rng)
        if phrase is None:
            return None
        example = Example(
            tuple(self._tokenizer.encode_source(phrase.text, phrase.source)),
            tuple(self._tokenizer.encode_target(phrase.translation, phrase.target)),
        )
        longest = max(len(example.source), len(example.target))
        return example if longest <= self._recipe.max_positions else None


def _cut(examples: Sequence[Example], pieces: int) -> list[list[Example]]:
    """Cut into as many consecutive batches of about equal numbers of target tokens."""
    total = sum(len(example.target) for example in examples)
    batches: list[list[Example]] = [[] for _ in range(pieces)]
    seen = 0
    for example in examples:
        batches[min(pieces - 1, seen * pieces // total)].append(example)
        seen += len(example.target)
    return [batch for batch in batches if batch]
