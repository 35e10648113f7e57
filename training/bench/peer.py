"""transformers' Seq2SeqTrainer over an adapter in a base, in its strongest fair set-up.

It gets the same sentences in the same batches as our trainer, where that is asked: its own batches
have a number of sentences and not of tokens. M2M-100 in transformers lacks
`prepare_decoder_input_ids_from_labels`, without which label smoothing fails in the Trainer, so that
the collator makes the decoder's inputs. Attention is fused in float32 and as ours is in bfloat16:
on a CPU that was the faster way for each.
"""

from __future__ import annotations

import random
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSeq2SeqLM,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
)
from transformers.trainer_pt_utils import get_length_grouped_indices

from hub.bases import Base
from training.bench.work import FAMILY, LAYOUT, Content, TrainWork
from training.loop.batching import Example
from training.loop.devices import training_device
from training.loop.loss import collate
from training.loop.model import attention_for_training, quiet_libraries
from training.loop.trainer import ADAM_BETAS, ADAM_EPS
from training.methods.catalog import method

if TYPE_CHECKING:
    from peft import PeftModel

    from training.bench.passes import Pass, Passes

IGNORED: Final = -100


def load_plain(work: TrainWork, folder: Path, half_base: bool) -> PeftModel:
    """Return the base with a fresh adapter, by transformers and PEFT alone."""
    from peft import get_peft_model

    half = half_base and work.precision == "bfloat16"
    spec = method(work.method)
    recipe = work.recipe(Base(name=work.dims, folder=folder).dimensions, work.examples())
    with quiet_libraries():
        base = AutoModelForSeq2SeqLM.from_pretrained(
            folder,
            dtype=torch.bfloat16 if half else torch.float32,
            local_files_only=True,
            attn_implementation=(
                "sdpa" if work.precision == "float32" else attention_for_training()
            ),
            dropout=work.dropout,
            attention_dropout=0.0,
        )
        config = spec.build(recipe.size, recipe.options, FAMILY)
        torch.manual_seed(work.seed)
        adapted: PeftModel = get_peft_model(base, config)
    return adapted


class _Sentences(torch.utils.data.Dataset[dict[str, Any]]):
    """Examples as the Trainer wants them."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"example": self._examples[index]}


def collate_plain(rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """Return what an encoder-decoder of transformers takes; -100 where the loss does not count."""
    batch = collate([row["example"] for row in rows], LAYOUT)
    labels = torch.full_like(batch.decoder_input, IGNORED)
    labels[batch.predicted] = batch.labels
    return {
        "input_ids": batch.source,
        "attention_mask": batch.source_mask,
        "decoder_input_ids": batch.decoder_input,
        "labels": labels,
    }


class _Watch(TrainerCallback):
    """Times from the first update to the last."""

    def __init__(self) -> None:
        self.started = self.ended = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start, at the first."""
        if state.global_step == 0:
            self.started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop, unless another follows."""
        self.ended = time.perf_counter()


class _Planned(Seq2SeqTrainer):
    """The Trainer over batches that are known beforehand."""

    plan: Sequence[Sequence[int]] = ()

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the batches in the order of the plan."""
        batches = [list(batch) for batch in self.plan]
        return DataLoader(
            cast(_Sentences, self.train_dataset),
            batch_sampler=batches,
            collate_fn=self.data_collator,
        )


def grouped_batches(work: TrainWork, examples: Sequence[Example]) -> list[list[int]]:
    """Return batches of the Trainer's own sampler that groups by length, drawn from its epoch.

    They have as many sentences as our batches on average.
    """
    ours = work.batches(examples)
    size = max(1, round(sum(map(len, ours)) / len(ours)))
    generator = torch.Generator().manual_seed(work.seed)
    lengths = [len(one.source) for one in examples]
    order: list[int] = get_length_grouped_indices(  # type: ignore[no-untyped-call]
        lengths, size, generator=generator
    )
    epoch = [order[at : at + size] for at in range(0, len(order), size)]
    return random.Random(work.seed).sample(epoch, min(work.updates, len(epoch)))


def trainer_passes(model: PeftModel, work: TrainWork, same_batches: bool) -> Passes:
    """Return passes of Seq2SeqTrainer over a model that has its adapter."""
    from training.bench.passes import Pass

    examples = work.examples()
    plan = work.batches(examples) if same_batches else grouped_batches(work, examples)
    content = Content.of(examples, plan)
    watch = _Watch()

    def run() -> Pass:
        with tempfile.TemporaryDirectory(prefix="hub-bench-") as scratch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = _Planned(
                model=model,
                args=_arguments(work, scratch),
                train_dataset=_Sentences(examples),
                data_collator=collate_plain,
                callbacks=[watch],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.plan = plan
            trainer.train()
        return Pass(watch.ended - watch.started, trainer.state.global_step, content)

    return run


def _arguments(work: TrainWork, scratch: str) -> Seq2SeqTrainingArguments:
    return Seq2SeqTrainingArguments(
        output_dir=scratch,
        num_train_epochs=1,
        learning_rate=work.learning_rate,
        lr_scheduler_type="constant",
        adam_beta1=ADAM_BETAS[0],
        adam_beta2=ADAM_BETAS[1],
        adam_epsilon=ADAM_EPS,
        weight_decay=0.0,
        max_grad_norm=1.0,
        label_smoothing_factor=work.label_smoothing,
        bf16=work.precision == "bfloat16",
        use_cpu=training_device() == "cpu",
        seed=work.seed,
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
