"""Token-budget batches: which examples run together, decided without torch.

A batch costs what its padded tensors hold: rows × (longest source + longest target). Lines of
similar length go together so that little of it is padding; the order of the batches, and which of
several equally long lines meet, is drawn from the seed and the epoch alone, so a run can be
repeated and continued.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Final

BUCKET: Final = 4


@dataclass(frozen=True)
class Example:
    """One encoded line of the training corpus.

    Attributes:
        source: Ids of the source, language and end tokens included.
        target: Labels: the forced language tokens, the pieces and the end token.
        line: Position in the corpus, for messages.
    """

    source: tuple[int, ...]
    target: tuple[int, ...]
    line: int

    @property
    def lengths(self) -> tuple[int, int]:
        """Return source and target length."""
        return len(self.source), len(self.target)


def padded_tokens(lengths: Sequence[tuple[int, int]]) -> int:
    """Return how many positions a batch of these lengths occupies, source and target."""
    longest = max((source for source, _ in lengths), default=0)
    return len(lengths) * (longest + max((target for _, target in lengths), default=0))


def plan_epoch(
    lengths: Sequence[tuple[int, int]], *, tokens: int, seed: int, epoch: int
) -> tuple[tuple[int, ...], ...]:
    """Cut one pass over the corpus into batches of at most `tokens` padded positions.

    A line longer than the whole budget becomes a batch of its own: nothing is left out.

    Args:
        lengths: Source and target length of every example.
        tokens: Positions per batch, source and target together.
        seed: Seed of the run.
        epoch: Pass over the corpus, from 0.
    """
    rng = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    rng.shuffle(order)
    order.sort(key=lambda index: _bucket(lengths[index]))
    batches = list(_cut(order, lengths, tokens))
    rng.shuffle(batches)
    return tuple(batches)


def _bucket(lengths: tuple[int, int]) -> tuple[int, int]:
    source, target = lengths
    return -(-target // BUCKET), -(-source // BUCKET)


def _cut(
    order: Sequence[int], lengths: Sequence[tuple[int, int]], tokens: int
) -> Iterator[tuple[int, ...]]:
    batch: list[int] = []
    longest_source = longest_target = 0
    for index in order:
        source, target = lengths[index]
        wider = max(longest_source, source) + max(longest_target, target)
        if batch and (len(batch) + 1) * wider > tokens:
            yield tuple(batch)
            batch, longest_source, longest_target = [], 0, 0
        batch.append(index)
        longest_source, longest_target = max(longest_source, source), max(longest_target, target)
    if batch:
        yield tuple(batch)


@dataclass(frozen=True)
class Position:
    """Where a run stands in its corpus: the next batch to train on."""

    epoch: int = 0
    batch: int = 0


def batches_from(
    lengths: Sequence[tuple[int, int]], *, tokens: int, seed: int, start: Position
) -> Iterator[tuple[Position, tuple[int, ...]]]:
    """Yield batches without end, each with the position that follows it.

    Raises:
        ValueError: There are no examples.
    """
    if not lengths:
        raise ValueError("no examples to batch")
    for epoch in count(start.epoch):
        plan = plan_epoch(lengths, tokens=tokens, seed=seed, epoch=epoch)
        first = start.batch if epoch == start.epoch else 0
        for number in range(first, len(plan)):
            follows = number + 1
            yield (
                Position(epoch, follows) if follows < len(plan) else Position(epoch + 1),
                plan[number],
            )


@dataclass(frozen=True)
class PlannedBatch:
    """A batch and its place in the run.

    Attributes:
        place: Where in the corpus it stands; it names the batch, and so its dropout.
        indices: The examples in it.
    """

    place: Position
    indices: tuple[int, ...]

    def seed(self, run_seed: int) -> int:
        """Return the seed of this batch's dropout, whoever computes it and whenever."""
        text = f"{run_seed}/{self.place.epoch}/{self.place.batch}"
        return random.Random(text).getrandbits(63)


@dataclass(frozen=True)
class Update:
    """The batches whose gradients make one update, and the position that follows them."""

    batches: tuple[PlannedBatch, ...]
    follows: Position


def updates_from(
    lengths: Sequence[tuple[int, int]],
    *,
    tokens: int,
    accumulate: int,
    seed: int,
    start: Position,
) -> Iterator[Update]:
    """Yield updates of `accumulate` batches each, without end.

    Raises:
        ValueError: There are no examples.
    """
    batches = batches_from(lengths, tokens=tokens, seed=seed, start=start)
    place = start
    while True:
        planned = []
        for follows, indices in islice(batches, accumulate):
            planned.append(PlannedBatch(place, indices))
            place = follows
        yield Update(tuple(planned), place)
