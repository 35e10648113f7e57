"""The training loop: optimise the adapter, look at the dev set, keep the best, stop in good time.

What is trained is whatever parameters require gradients: an adapter's, float32, in a frozen base,
whose own gradients are never computed. Whatever ends the run, the best adapter so far is on disk.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import nn

from hub.errors import InterruptedRunError, TrainingDivergedError
from training.batching import Example, Position, batches_from
from training.interrupt import StopSignal
from training.loss import Layout, collate, smoothed_loss
from training.model import trainable
from training.progress import Progress, UpdateReport
from training.recipe import Recipe
from training.runs import RunFolder
from training.schedule import learning_rate
from training.state import RunState, load_state, state_bytes

ADAM_BETAS: Final = (0.9, 0.98)
ADAM_EPS: Final = 1e-8
SKIPS_ALLOWED: Final = 3
LOG_EVERY: Final = 10
RECENT: Final = 0.05

Judge = Callable[[Path], float]
"""Decodes the dev set with a saved folder and returns chrF++; draws no random numbers."""

Snapshot = Callable[[], Mapping[str, bytes]]
"""Returns the files of the adapter folder as it stands."""


@dataclass(frozen=True)
class TrainingResult:
    """How training ended.

    Attributes:
        steps: Updates made.
        best_score: Dev chrF++ of `best/`.
        why: `max-updates` or `patience`.
        seconds: Time spent in updates, evaluations left out.
    """

    steps: int
    best_step: int
    best_score: float
    why: str
    tokens: int
    seconds: float


class Trainer:
    """One run over one adapter."""

    def __init__(
        self,
        model: nn.Module,
        examples: Sequence[Example],
        recipe: Recipe,
        *,
        layout: Layout,
        run: RunFolder,
        snapshot: Snapshot,
        judge: Judge,
        progress: Progress,
        stop: StopSignal,
        device: str = "cpu",
    ) -> None:
        """Prepare a run; an unfinished one in the same folder is continued.

        Args:
            model: The base with a fresh adapter in it, trainable parameters float32.
            examples: The encoded training corpus.
            recipe: How to train.
            layout: Special ids of the base.
            run: Where everything is kept.
            snapshot: Returns the files to keep.
            judge: Scores what was kept.
            progress: Hears of every update.
            stop: Asked before every update.
            device: Where the model is.
        """
        self._model = model
        self._examples = examples
        self._recipe = recipe
        self._layout = layout
        self._run = run
        self._snapshot = snapshot
        self._judge = judge
        self._progress = progress
        self._stop = stop
        self._device = device
        self._parameters = trainable(model)
        self._optimiser = torch.optim.AdamW(
            self._parameters.values(),
            lr=recipe.learning_rate,
            betas=ADAM_BETAS,
            eps=ADAM_EPS,
            weight_decay=recipe.weight_decay,
        )
        self._state = RunState()
        self._recent_loss = math.nan

    def train(self) -> TrainingResult:
        """Train until the updates are used up or the dev score no longer improves.

        Raises:
            InterruptedRunError: A stop was asked for; the message says where the adapter lies.
            TrainingDivergedError: The loss was not finite several times in a row.
            StorageFullError: A checkpoint could not be written; the one before is intact.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._recipe.seed)
            if self._run.unfinished:
                self._state = load_state(self._run.state, self._parameters, self._optimiser)
            self._model.train()
            try:
                why = self._loop()
            finally:
                self._model.eval()
        return self._result(why)

    def _loop(self) -> str:
        lengths = [example.lengths for example in self._examples]
        batches = batches_from(
            lengths,
            tokens=self._recipe.tokens_per_batch,
            seed=self._recipe.seed,
            start=self._state.position,
        )
        while self._state.step < self._recipe.max_updates:
            if self._state.stale >= self._recipe.patience:
                return "patience"
            if self._stop.requested:
                raise self._interrupted()
            self._update(*next(batches))
            if self._due():
                self._evaluate()
        return "max-updates"

    def _due(self) -> bool:
        step = self._state.step
        return step % self._recipe.evaluate_every == 0 or step == self._recipe.max_updates

    def _update(self, follows: Position, indices: Sequence[int]) -> None:
        started = time.perf_counter()
        self._state.step += 1
        rate = self._set_rate()
        batch = collate([self._examples[i] for i in indices], self._layout, self._device)
        loss = smoothed_loss(self._model, batch, self._recipe.label_smoothing)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._recipe.clip)
        value = float(loss.detach())
        if math.isfinite(value) and math.isfinite(float(norm)):
            self._optimiser.step()
            self._state.skipped = 0
            self._state.tokens += batch.tokens
        else:
            self._skip(indices)
        self._state.position = follows
        self._state.seconds += time.perf_counter() - started
        self._report(value, rate)

    def _set_rate(self) -> float:
        rate = learning_rate(
            self._state.step,
            peak=self._recipe.learning_rate,
            schedule=self._recipe.schedule,
            warmup=self._recipe.warmup,
            max_updates=self._recipe.max_updates,
        )
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        return rate

    def _skip(self, indices: Sequence[int]) -> None:
        """Leave a non-finite update out, or give up after too many in a row."""
        self._state.skipped += 1
        if self._state.skipped <= SKIPS_ALLOWED:
            return
        lines = ", ".join(str(self._examples[index].line + 1) for index in indices[:5])
        kept = (
            f"the best adapter so far is in {self._run.best}"
            if self._run.best.is_dir()
            else ("no adapter was good enough to keep")
        )
        raise TrainingDivergedError(
            f"loss or gradient not finite in {self._state.skipped} updates in a row, last at "
            f"update {self._state.step} on {len(indices)} training lines ({lines}, …); {kept}. "
            "Lower --lr or use --precision float32",
            metadata={"step": str(self._state.step)},
        )

    def _report(self, loss: float, rate: float) -> None:
        if math.isfinite(loss):
            known = math.isfinite(self._recent_loss)
            change = RECENT * (loss - self._recent_loss) if known else 0.0
            self._recent_loss = self._recent_loss + change if known else loss
        state = self._state
        speed = state.tokens / max(state.seconds, 1e-9)
        self._progress.updated(
            UpdateReport(
                step=state.step,
                max_updates=self._recipe.max_updates,
                loss=self._recent_loss,
                learning_rate=rate,
                tokens_per_second=speed,
                dev_score=state.dev_score,
            )
        )
        if state.step % LOG_EVERY == 0:
            shown = round(self._recent_loss, 4) if math.isfinite(self._recent_loss) else None
            self._run.log(
                {"step": state.step, "loss": shown, "lr": rate, "tokens_per_second": round(speed)}
            )

    def _evaluate(self) -> None:
        state = self._state
        files = self._snapshot()
        score = self._judge(self._run.save_adapter("last", files))
        better = state.best_score is None or score > state.best_score
        state.dev_score = score
        state.stale = 0 if better else state.stale + 1
        if better:
            state.best_score, state.best_step = score, state.step
            self._run.save_adapter("best", files)
        self._save_state()
        self._run.log({"step": state.step, "dev_chrf++": round(score, 3), "best": better})
        self._progress.evaluated(state.step, score, best=better)

    def _save_state(self) -> None:
        content = state_bytes(self._state, self._parameters, self._optimiser)
        self._run.write(self._run.state.name, content)

    def _interrupted(self) -> InterruptedRunError:
        files = self._snapshot()
        kept = self._run.save_adapter("last", files)
        if self._state.best_score is None:
            self._run.save_adapter("best", files)
        else:
            kept = self._run.best
        self._save_state()
        self._run.summarise({"ended": "interrupted", "steps": self._state.step})
        return InterruptedRunError(
            f"stopped after update {self._state.step}; the adapter trained so far is in {kept}. "
            "Run the same command again to go on"
        )

    def _result(self, why: str) -> TrainingResult:
        state = self._state
        assert state.best_score is not None, "max_updates is at least 1 and ends in an evaluation"
        return TrainingResult(
            steps=state.step,
            best_step=state.best_step,
            best_score=state.best_score,
            why=why,
            tokens=state.tokens,
            seconds=state.seconds,
        )
