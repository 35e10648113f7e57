"""What is trained on: random sentences whose lengths vary as those of a corpus do."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hub.bench.models import LEAST_VOCABULARY
from hub.dimensions import ModelDimensions
from training.loop.batching import Example, padded_tokens, plan_epoch
from training.loop.loss import Layout
from training.methods.catalog import method
from training.recipe import Recipe

FAMILY: Final = "m2m_100"
LAYOUT: Final = Layout(pad_id=1, decoder_start_id=2, forced=1)
_LANGUAGE: Final = 5
_END: Final = 2
_FIRST: Final = 10
_MEDIAN: Final = 20.0
_SPREAD: Final = 0.55
_LONGEST: Final = 100
_STRETCH: Final = (0.8, 1.25)
_LEAST: Final = 3
_BATCHES: Final = 200


@dataclass(frozen=True)
class TrainWork:
    """Some batches of a corpus.

    Attributes:
        dims: Name of the base's dimensions.
        tokens: Padded positions of a batch, source and target together.
        updates: Batches trained on in a pass, the same in each.
        precision: float32 or bfloat16.
        dropout: Of the base's layers.
    """

    dims: str
    method: str
    budget: float
    tokens: int
    updates: int
    precision: str
    dropout: float
    label_smoothing: float
    learning_rate: float = 1e-4
    seed: int = 1

    def examples(self) -> tuple[Example, ...]:
        """Return the corpus: enough sentences for batches to be as well filled as a corpus's.

        Lengths are log-normal, half of them below 20 tokens; a target has 0.8 to 1.25 times the
        tokens of its source.
        """
        draw = random.Random(self.seed)
        wanted = self.tokens * max(self.updates, _BATCHES)
        made: list[Example] = []
        while wanted > 0:
            made.append(_sentence(draw, len(made)))
            wanted -= sum(made[-1].lengths)
        return tuple(made)

    def batches(self, examples: Sequence[Example]) -> tuple[tuple[int, ...], ...]:
        """Return the batches of a pass: the first of our trainer's first epoch."""
        lengths = [one.lengths for one in examples]
        return plan_epoch(lengths, tokens=self.tokens, seed=self.seed, epoch=0)[: self.updates]

    def recipe(self, dims: ModelDimensions, examples: Sequence[Example]) -> Recipe:
        """Return the recipe of a pass, the adapter's size solved from the budget."""
        spec = method(self.method)
        solved = spec.solve(dims, spec.options, budget=self.budget, size=None)
        return Recipe(
            pair="en-de", method=self.method, options=spec.options, size=solved.size,
            budget=self.budget, base=f"random {self.dims}", base_digest="", corpus="files",
            train=len(examples), dev=1, test=1, seed=self.seed, learning_rate=self.learning_rate,
            schedule="constant", warmup=0, label_smoothing=self.label_smoothing, weight_decay=0.0,
            dropout=self.dropout, clip=1.0, tokens_per_batch=self.tokens, max_updates=self.updates,
            evaluate_every=self.updates, dev_lines=1, patience=1, precision=self.precision,
        )  # fmt: skip

    def facts(self, dims: ModelDimensions) -> dict[str, Any]:
        """Return what the figures say of the work."""
        spec = method(self.method)
        solved = spec.solve(dims, spec.options, budget=self.budget, size=None)
        return {
            "dims": self.dims,
            "method": self.method,
            "size": solved.size,
            "trainable_parameters": solved.trainable_parameters,
            "budget": self.budget,
            "dropout": self.dropout,
            "label_smoothing": self.label_smoothing,
            "tokens_per_batch": self.tokens,
            "updates": self.updates,
        }


@dataclass(frozen=True)
class Content:
    """What some batches hold, in tokens."""

    source: int
    target: int
    padding: float

    @classmethod
    def of(cls, examples: Sequence[Example], batches: Sequence[Sequence[int]]) -> Content:
        """Count; `padding` is its share of all positions."""
        lengths = [[examples[index].lengths for index in batch] for batch in batches]
        positions = sum(padded_tokens(batch) for batch in lengths)
        source = sum(one for batch in lengths for one, _ in batch)
        target = sum(one for batch in lengths for _, one in batch)
        return cls(source, target, 1 - (source + target) / positions)


def _sentence(draw: random.Random, line: int) -> Example:
    source = _length(draw.lognormvariate(math.log(_MEDIAN), _SPREAD))
    target = _length(source * draw.uniform(*_STRETCH))

    def text(length: int) -> tuple[int, ...]:
        pieces = draw.choices(range(_FIRST, LEAST_VOCABULARY), k=length - 2)
        return (_LANGUAGE, *pieces, _END)

    return Example(text(source), text(target), line)


def _length(drawn: float) -> int:
    return max(_LEAST, min(_LONGEST, round(drawn)))
