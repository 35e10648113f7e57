"""The training loop: optimise the adapter, look at the dev set, keep the best, stop in good time.

What is trained is whatever parameters require gradients: an adapter's, float32, in a frozen base,
whose own gradients are never computed. Whatever ends the run, the best adapter so far is on disk.
Of several processes the first alone scores and writes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from hub.errors import InterruptedRunError, SettingsError, TrainingDivergedError
from training.loop.batching import Example, Update, updates_from
from training.loop.gradients import Gradients
from training.loop.interrupt import StopSignal
from training.loop.loss import Layout
from training.loop.model import trainable
from training.loop.processes import Alone, Processes
from training.loop.progress import Progress, UpdateReport
from training.loop.schedule import learning_rate
from training.loop.state import RunState, load_state, state_bytes
from training.recipe import Recipe
from training.runs import RunFolder

ADAM_BETAS: Final = (0.9, 0.98)
ADAM_EPS: Final = 1e-8
SKIPS_ALLOWED: Final = 3
LINES_NAMED: Final = 5
LOG_EVERY: Final = 10
RECENT: Final = 0.05
ROWS_NAME: Final = ".trainable_tokens_delta."

Judge = Callable[[Path], float]
"""Decodes the dev set with a saved folder and returns chrF++; draws no random numbers."""

Snapshot = Callable[[], Mapping[str, bytes]]
"""Returns the files of the adapter folder as it stands."""

NameLine = Callable[[int], str]
"""Returns what people call a line of the corpus: file:line where it is from a file."""


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


def line_number(line: int) -> str:
    """Name a line by its position in the corpus, counted from 1."""
    return f"line {line + 1}"


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
        name_line: NameLine = line_number,
        processes: Processes | None = None,
        rows_rate: float = 1.0,
    ) -> None:
        """Prepare a run; an unfinished one in the same folder is continued.

        Args:
            model: The base with a fresh adapter in it, trainable parameters float32.
            examples: The encoded training corpus.
            recipe: How to train.
            layout: Special ids of the base.
            run: Where everything is kept; every process sees it.
            snapshot: Returns the files to keep.
            judge: Scores what was kept.
            progress: Hears of every update.
            stop: Asked before every update.
            device: Where the model is.
            name_line: Names a line of the corpus in messages.
            processes: Those that share the work; this one alone by default.
            rows_rate: What the learning rate is multiplied by for rows of the token table.

        Raises:
            SettingsError: There are more processes than batches in an update.
        """
        self._recipe = recipe
        self._model = model
        self._examples = examples
        self._run = run
        self._snapshot = snapshot
        self._judge = judge
        self._progress = progress
        self._stop = stop
        self._name_line = name_line
        self._processes = processes or Alone()
        _refuse_idle(self._processes, recipe)
        self._parameters = trainable(model)
        self._gradients = Gradients(
            model,
            self._parameters,
            examples,
            recipe,
            layout=layout,
            processes=self._processes,
            device=device,
        )
        self._optimiser = torch.optim.AdamW(
            _groups(self._parameters, rows_rate),
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
            if self._processes.share(self._run.unfinished):
                self._state = load_state(self._run.state, self._parameters, self._optimiser)
            self._model.train()
            try:
                why = self._loop()
            finally:
                self._model.eval()
        return self._result(why)

    def _loop(self) -> str:
        updates = updates_from(
            [example.lengths for example in self._examples],
            tokens=self._recipe.tokens_per_batch,
            accumulate=self._recipe.accumulate,
            seed=self._recipe.seed,
            start=self._state.position,
        )
        while self._state.step < self._recipe.max_updates:
            if self._state.stale >= self._recipe.patience:
                return "patience"
            if self._processes.any(self._stop.requested):
                raise self._interrupted()
            self._update(next(updates))
            if self._due():
                self._evaluate()
        return "max-updates"

    def _due(self) -> bool:
        step = self._state.step
        return step % self._recipe.evaluate_every == 0 or step == self._recipe.max_updates

    def _update(self, update: Update) -> None:
        started = time.perf_counter()
        self._state.step += 1
        rate = self._set_rate()
        loss = self._gradients.compute(update)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._recipe.clip)
        if math.isfinite(loss) and math.isfinite(float(norm)):
            self._optimiser.step()
            self._state.skipped = 0
            self._state.tokens += self._gradients.tokens(update)
        else:
            self._skip(update)
        self._state.position = update.follows
        self._state.seconds += time.perf_counter() - started
        self._report(loss, rate)

    def _set_rate(self) -> float:
        rate = learning_rate(
            self._state.step,
            peak=self._recipe.learning_rate,
            schedule=self._recipe.schedule,
            warmup=self._recipe.warmup,
            max_updates=self._recipe.max_updates,
        )
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        return rate

    def _skip(self, update: Update) -> None:
        """Leave a non-finite update out, or give up after too many in a row."""
        self._state.skipped += 1
        lines = [self._name_line(line) for line in self._gradients.lines_not_finite(update)]
        if self._state.skipped > SKIPS_ALLOWED:
            raise self._diverged(lines)
        if self._processes.is_main:
            self._run.log({"step": self._state.step, "skipped": lines[:LINES_NAMED]})
            self._progress.skipped(self._state.step, _some(lines))

    def _diverged(self, lines: Sequence[str]) -> TrainingDivergedError:
        """Keep the last good adapter, and say where it lies and what to look at."""
        kept = f"the last good adapter is in {self._run.last}"
        if self._processes.is_main:
            self._run.save_adapter("last", self._snapshot())
        if self._state.best_score is not None:
            kept = f"the best adapter so far is in {self._run.best}, the last good one in " + str(
                self._run.last
            )
        return TrainingDivergedError(
            f"loss or gradient not finite in {self._state.skipped} updates in a row, last at "
            f"update {self._state.step} on {_some(lines)}; {kept}. "
            "Look at these lines, lower --lr or use --precision float32",
            metadata={"step": str(self._state.step)},
        )

    def _report(self, loss: float, rate: float) -> None:
        if math.isfinite(loss):
            known = math.isfinite(self._recent_loss)
            change = RECENT * (loss - self._recent_loss) if known else 0.0
            self._recent_loss = self._recent_loss + change if known else loss
        if not self._processes.is_main:
            return
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
        """Score the adapter and keep it if it is the best; the others wait for the score."""
        state = self._state
        main = self._processes.is_main
        files = self._snapshot() if main else {}
        score = self._processes.share(
            self._judge(self._run.save_adapter("last", files)) if main else 0.0
        )
        better = state.best_score is None or score > state.best_score
        state.dev_score = score
        state.stale = 0 if better else state.stale + 1
        if better:
            state.best_score, state.best_step = score, state.step
        if main:
            self._keep(files, better=better)

    def _keep(self, files: Mapping[str, bytes], *, better: bool) -> None:
        state = self._state
        assert state.dev_score is not None, "called after a look at the dev set"
        if better:
            self._run.save_adapter("best", files)
        self._save_state()
        self._run.log({"step": state.step, "dev_chrf++": round(state.dev_score, 3), "best": better})
        self._progress.evaluated(state.step, state.dev_score, best=better)

    def _save_state(self) -> None:
        content = state_bytes(self._state, self._parameters, self._optimiser)
        self._run.write(self._run.state.name, content)

    def _interrupted(self) -> InterruptedRunError:
        kept = self._run.last if self._state.best_score is None else self._run.best
        if self._processes.is_main:
            self._keep_interrupted()
        return InterruptedRunError(
            f"stopped after update {self._state.step}; the adapter trained so far is in {kept}. "
            "Run the same command again to go on"
        )

    def _keep_interrupted(self) -> None:
        files = self._snapshot()
        self._run.save_adapter("last", files)
        if self._state.best_score is None:
            self._run.save_adapter("best", files)
        self._save_state()
        self._run.summarise({"ended": "interrupted", "steps": self._state.step})

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


def _groups(parameters: Mapping[str, nn.Parameter], rows_rate: float) -> list[dict[str, Any]]:
    """Return the optimiser's groups: what the method trains, and rows of the token table."""
    rows = [each for name, each in parameters.items() if ROWS_NAME in name]
    rest = [each for name, each in parameters.items() if ROWS_NAME not in name]
    factors = ((rest, 1.0), (rows, rows_rate))
    return [{"params": own, "factor": factor} for own, factor in factors if own]


def _refuse_idle(processes: Processes, recipe: Recipe) -> None:
    if recipe.accumulate < processes.size:
        raise SettingsError(
            f"--accumulate is {recipe.accumulate}, which leaves some of {processes.size} processes "
            f"without a batch; give --accumulate {processes.size} or a multiple of it",
            field="accumulate",
        )


def _some(lines: Sequence[str]) -> str:
    """Name the first few lines, and say how many there are."""
    named = ", ".join(lines[:LINES_NAMED])
    more = len(lines) - LINES_NAMED
    return f"{named} and {more} lines more" if more > 0 else named
