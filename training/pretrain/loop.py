"""The optimisation of a base model, resumable.

The model computes in bfloat16; the optimiser keeps float32 master weights, to which each update is
applied before they are rounded back into the model. On a CPU with bfloat16 instructions this is
several times faster than float32, and a quarter faster than autocast, which converts the weights
and much of the activations at every step.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import M2M100Config, M2M100ForConditionalGeneration

from hub.bases.tokenizer import M2M100Tokenizer
from hub.errors import SettingsError
from training.pretrain.recipe import BaseRecipe
from training.pretrain.stream import Example, PairStream
from training.pretrain.texts import TrainingText
from training.pretrain.vocabulary import embedding_rows

_CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Progress:
    """One finished update."""

    update: int
    loss: float
    tokens_per_second: float


class BaseTrainer:
    """Trains one recipe in one folder; a second run of it goes on where the first stopped."""

    def __init__(
        self, recipe: BaseRecipe, text: TrainingText, folder: Path, tokenizer: M2M100Tokenizer
    ) -> None:
        """Build the model and optimiser, and load the folder's checkpoint if it has one."""
        torch.manual_seed(recipe.seed)
        self._recipe = recipe
        self._text = text
        self._folder = folder
        self._tokenizer = tokenizer
        config = M2M100Config(**recipe.model_config(embedding_rows(folder)))
        self.model = M2M100ForConditionalGeneration(config)
        self._masters = [parameter.detach().clone() for parameter in self.model.parameters()]
        nn.Module.to(self.model, dtype=torch.bfloat16)
        # The fused attention's backward is several times slower than plain attention on CPUs.
        self.model.set_attn_implementation("eager")
        self._optimizer = torch.optim.AdamW(
            self._masters,
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self.update = 0
        self._load_checkpoint()

    def master_model(self) -> M2M100ForConditionalGeneration:
        """Return the model with its float32 weights; training cannot go on with it."""
        nn.Module.to(self.model, dtype=torch.float32)
        self._round_masters()
        return self.model

    def run(self, report: Callable[[Progress], None], checkpoint_every: int = 100) -> None:
        """Train to the recipe's last update; a checkpoint is written also when interrupted."""
        stream = PairStream(self._recipe, self._tokenizer, self._text)
        self.model.train()
        try:
            for batch in stream.batches(self.update):
                if self.update >= self._recipe.updates:
                    break
                report(self._step(batch))
                if self.update % checkpoint_every == 0:
                    self.save_checkpoint()
        finally:
            self.save_checkpoint()

    def save_checkpoint(self) -> None:
        """Write weights, optimiser state and position; the previous checkpoint stays until then."""
        path = self._folder / _CHECKPOINT
        partial = path.with_suffix(".partial")
        state: dict[str, Any] = {
            "recipe": self._recipe.digest,
            "update": self.update,
            "masters": self._masters,
            "optimizer": self._optimizer.state_dict(),
        }
        content = io.BytesIO()  # writing to disk itself, torch hides that the disk is full
        torch.save(state, content)
        partial.write_bytes(content.getbuffer())
        partial.replace(path)

    def discard_checkpoint(self) -> None:
        """Remove the checkpoint of a base that is finished."""
        (self._folder / _CHECKPOINT).unlink(missing_ok=True)

    def _load_checkpoint(self) -> None:
        path = self._folder / _CHECKPOINT
        if not path.is_file():
            return
        state = torch.load(path, weights_only=True)
        if state["recipe"] != self._recipe.digest:
            raise SettingsError(
                f"{self._folder} holds a checkpoint of recipe {state['recipe']}, but recipe "
                f"{self._recipe.digest} was asked for; choose another folder",
                field="folder",
            )
        for master, saved in zip(self._masters, state["masters"], strict=True):
            master.copy_(saved)
        self._round_masters()
        self._optimizer.load_state_dict(state["optimizer"])
        self.update = int(state["update"])

    def _round_masters(self) -> None:
        """Put the master weights into the model, in its own precision."""
        with torch.no_grad():
            for parameter, master in zip(self.model.parameters(), self._masters, strict=True):
                parameter.copy_(master)

    def _step(self, batch: Sequence[Example]) -> Progress:
        started = time.perf_counter()
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._recipe, self.update)
        loss, tokens = self._loss(batch)
        torch.autograd.backward(loss)
        for parameter, master in zip(self.model.parameters(), self._masters, strict=True):
            master.grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        torch.nn.utils.clip_grad_norm_(self._masters, self._recipe.clip)
        self._optimizer.step()
        self._round_masters()
        self.update += 1
        seconds = time.perf_counter() - started
        return Progress(self.update, float(loss.detach()), tokens / seconds)

    def _loss(self, batch: Sequence[Example]) -> tuple[Tensor, int]:
        source = self._pad([example.source for example in batch])
        labels = self._pad([example.target for example in batch])
        start = torch.full((len(batch), 1), self._tokenizer.decoder_start_id)
        hidden = self.model.model(
            input_ids=source,
            attention_mask=source.ne(self._tokenizer.pad_id),
            decoder_input_ids=torch.cat([start, labels[:, :-1]], dim=1),
            use_cache=False,
        ).last_hidden_state
        real = labels.ne(self._tokenizer.pad_id)
        logits = self.model.lm_head(hidden[real])  # (tokens, vocabulary)
        loss = functional.cross_entropy(
            logits, labels[real], label_smoothing=self._recipe.label_smoothing
        )
        return loss, int(real.sum())

    def _pad(self, rows: Sequence[Sequence[int]]) -> Tensor:
        longest = max(len(row) for row in rows)
        padded = [[*row, *[self._tokenizer.pad_id] * (longest - len(row))] for row in rows]
        return torch.tensor(padded)


def learning_rate(recipe: BaseRecipe, update: int) -> float:
    """Return the rate of an update: linear warm-up, then a cosine to zero."""
    if update < recipe.warmup:
        return recipe.learning_rate * (update + 1) / recipe.warmup
    progress = (update - recipe.warmup) / max(1, recipe.updates - recipe.warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def log_to(path: Path) -> Callable[[Progress], None]:
    """Return a reporter that appends one JSON line per update."""

    def report(progress: Progress) -> None:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(progress.__dict__) + "\n")

    return report
