"""An endless, seekable stream of many-to-many training batches.

A chunk of batches follows from (seed, chunk number) alone, so that a run can be resumed at any
update without a stored data set or sampler state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

from hub.bases.tokenizer import M2M100Tokenizer
from training.corpora.cldr import locale_of, sample_phrase
from training.pretrain.recipe import BaseRecipe

BATCHES_PER_CHUNK = 16
_PREFETCHED_CHUNKS = 2


@dataclass(frozen=True)
class Example:
    """One encoded pair: encoder input ids and labels."""

    source: tuple[int, ...]
    target: tuple[int, ...]


class PairStream:
    """Batches of similar length in random order, any language to any other."""

    def __init__(self, recipe: BaseRecipe, tokenizer: M2M100Tokenizer) -> None:
        """Prepare the stream; nothing is sampled yet."""
        self._recipe = recipe
        self._tokenizer = tokenizer
        self._weights = [recipe.weight(language) for language in recipe.languages]

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
        while tokens < budget * BATCHES_PER_CHUNK:
            example = self._example(rng)
            if example is not None:
                examples.append(example)
                tokens += len(example.target)
        examples.sort(key=lambda example: (len(example.target), len(example.source)))
        batches = _cut(examples, BATCHES_PER_CHUNK)
        rng.shuffle(batches)
        return batches

    def _example(self, rng: Random) -> Example | None:
        phrase = sample_phrase(rng)
        source, target = rng.choices(self._recipe.languages, self._weights, k=2)
        if source == target or phrase.split != "train":
            return None
        text, translation = phrase.render(locale_of(source)), phrase.render(locale_of(target))
        if not text or not translation:
            return None
        return Example(
            tuple(self._tokenizer.encode_source(text, source)),
            tuple(self._tokenizer.encode_target(translation, target)),
        )


def _cut(examples: Sequence[Example], pieces: int) -> list[list[Example]]:
    """Cut into as many consecutive batches of about equal numbers of target tokens."""
    total = sum(len(example.target) for example in examples)
    batches: list[list[Example]] = [[] for _ in range(pieces)]
    seen = 0
    for example in examples:
        batches[min(pieces - 1, seen * pieces // total)].append(example)
        seen += len(example.target)
    return [batch for batch in batches if batch]
