"""One pass over the work, by our trainer and by transformers' Seq2SeqTrainer with PEFT.

Both train the adapter of the same PEFT configuration in the same base, with AdamW at a constant
rate, gradients clipped at 1, dropout on the layers and none on attention weights. Both are timed
from their first update to their last; loading, preparing and saving are left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hub.bases import Base
from training.bench.work import LAYOUT, Content, TrainWork
from training.methods.catalog import method

if TYPE_CHECKING:
    from peft import PeftModel

OURS: Final = "hub"


@dataclass(frozen=True)
class Pass:
    """How one pass over the work went.

    Attributes:
        seconds: Of all updates.
        content: What they were made of.
    """

    seconds: float
    updates: int
    content: Content

    @property
    def rate(self) -> float:
        """Return source and target tokens per second, padding left out."""
        return (self.content.source + self.content.target) / self.seconds


Passes = Callable[[], Pass]
"""Trains over all of the work once more."""


def our_passes(work: TrainWork, folder: Path) -> Passes:
    """Return passes of `training.loop.trainer.Trainer`, as `hub train` runs it."""
    from torch import nn

    from training.loop.devices import training_device
    from training.loop.model import attach, load_base_model

    base = Base(name=f"random {work.dims}", folder=folder)
    examples = work.examples()
    recipe = work.recipe(base.dimensions, examples)
    model = load_base_model(base, dropout=work.dropout, precision=work.precision)
    nn.Module.to(model, training_device())
    return passes_of(attach(model, method(work.method), recipe), work, base)


def passes_of(model: PeftModel, work: TrainWork, base: Base) -> Passes:
    """Return passes of our trainer over a model that has its adapter."""
    from training.loop.devices import training_device
    from training.loop.interrupt import Never
    from training.loop.progress import Silent
    from training.loop.trainer import Trainer
    from training.runs import RunFolder

    examples = work.examples()
    recipe = work.recipe(base.dimensions, examples)
    content = Content.of(examples, work.batches(examples))

    def run() -> Pass:
        with tempfile.TemporaryDirectory(prefix="hub-bench-") as root:
            result = Trainer(
                model,
                examples,
                recipe,
                layout=LAYOUT,
                run=RunFolder.create(Path(root), recipe),
                snapshot=dict,
                judge=lambda folder: 0.0,
                progress=Silent(),
                stop=Never(),
                device=training_device(),
            ).train()
        return Pass(result.seconds, result.steps, content)

    return run


@dataclass(frozen=True)
class Setup:
    """How transformers' Trainer is set up.

    Attributes:
        same_batches: It gets our batches; else batches of its own sampler that groups by length,
            with as many sentences as ours have on average.
        half_base: In bfloat16 the frozen base's weights are bfloat16 too; else they are float32
            and autocast as they are used.
    """

    same_batches: bool = True
    half_base: bool = False


SETUPS: Final[Mapping[str, Setup]] = MappingProxyType(
    {
        "transformers": Setup(),
        "transformers-half": Setup(half_base=True),
        "transformers-grouped": Setup(same_batches=False),
    }
)


def their_passes(work: TrainWork, folder: Path, name: str) -> Passes:
    """Return passes of Seq2SeqTrainer with PEFT, set up as `SETUPS` says.

    The base is loaded and the adapter put in it by transformers and PEFT alone.
    """
    from training.bench.peer import load_plain, trainer_passes

    setup = SETUPS[name]
    return trainer_passes(load_plain(work, folder, setup.half_base), work, setup.same_batches)


def build_passes(name: str, work: TrainWork, folder: Path) -> Passes:
    """Return ours or theirs, by name."""
    return our_passes(work, folder) if name == OURS else their_passes(work, folder, name)
