"""Experiment trackers beside the run's own log: TensorBoard, Weights & Biases, MLflow.

A tracker listens; it decides nothing, is no part of the recipe, and one that fails while training
goes on is left out with a note. Their packages are optional extras.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from hub.errors import SettingsError

if TYPE_CHECKING:
    from training.loop.progress import Progress, UpdateReport

PROJECT: Final = "adapterhub"
TRACK_EVERY: Final = 10
"""Updates between two points; the first and the last are always there."""


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of a run at its start.

    Attributes:
        name: The run's name: pair, method and the recipe's digest.
        folder: The run folder.
        recipe: The recipe's canonical JSON.
    """

    name: str
    folder: Path
    recipe: str

    def settings(self) -> dict[str, str | int | float | bool]:
        """Return the recipe as one flat table, its options as `options.<name>`."""
        plain: dict[str, Any] = json.loads(self.recipe)
        options = {f"options.{name}": value for name, value in plain.pop("options").items()}
        return {name: "" if v is None else v for name, v in (plain | options).items()}


class Tracker(Protocol):
    """Keeps the numbers of one run."""

    def start(self, run: TrackedRun) -> None:
        """Begin, or go on with, the record of a run."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers at an update."""

    def finish(self, *, well: bool) -> None:
        """End the record."""


class TensorBoard:
    """Writes event files, by default under `tensorboard/` in the run folder."""

    def __init__(self, place: str) -> None:
        """Take the folder, "" for the run's own."""
        self._place = place
        self._writer: Any = None
        self._run: TrackedRun | None = None

    def start(self, run: TrackedRun) -> None:
        """Remember the run: the file is opened at the first number, whose step it must know."""
        self._run = run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add scalars; what an earlier process wrote from this step on is purged."""
        if self._writer is None:
            self._writer = self._open(step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def _open(self, step: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        assert self._run is not None, "started before it is told anything"
        folder = Path(self._place) / self._run.name if self._place else None
        writer: Any = SummaryWriter(
            str(folder or self._run.folder / "tensorboard"), purge_step=step
        )
        writer.add_text("recipe", f"    {self._run.recipe}", step)
        return writer

    def finish(self, *, well: bool) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """Logs to Weights & Biases, which reads its own WANDB_* (`WANDB_MODE=offline`)."""

    def __init__(self, place: str) -> None:
        """Take the project, "" for `adapterhub`."""
        self._project = place or PROJECT
        self._run: Any = None

    def start(self, run: TrackedRun) -> None:
        """Begin the run, or go on with the one of the same recipe."""
        import wandb

        self._run = wandb.init(
            project=self._project,
            name=run.name,
            id=run.name.replace(".", "-"),
            resume="allow",
            config=run.settings(),
            dir=str(run.folder),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers."""
        self._run.log(dict(values), step=step)

    def finish(self, *, well: bool) -> None:
        """Upload what is left, or leave it for `wandb sync`."""
        if self._run is not None:
            self._run.finish(exit_code=0 if well else 1)


class MLflow:
    """Logs to MLflow, which reads its own MLFLOW_TRACKING_URI where none is given."""

    def __init__(self, place: str) -> None:
        """Take the tracking URI, "" for MLflow's own."""
        self._uri = place
        self._mlflow: Any = None

    def start(self, run: TrackedRun) -> None:
        """Begin a run with the recipe as its parameters."""
        import mlflow

        if self._uri:
            mlflow.set_tracking_uri(self._uri)
        mlflow.set_experiment(PROJECT)
        mlflow.start_run(run_name=run.name)
        self._mlflow = mlflow
        mlflow.log_params(run.settings())

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers."""
        self._mlflow.log_metrics(dict(values), step=step)

    def finish(self, *, well: bool) -> None:
        """End the run."""
        if self._mlflow is not None:
            self._mlflow.end_run("FINISHED" if well else "FAILED")


@dataclass(frozen=True)
class _Kind:
    """One sort of tracker: its package, which is also its extra, and how to make it."""

    package: str
    make: Callable[[str], Tracker]


KINDS: Final[Mapping[str, _Kind]] = MappingProxyType(
    {
        "tensorboard": _Kind("tensorboard", TensorBoard),
        "wandb": _Kind("wandb", WeightsAndBiases),
        "mlflow": _Kind("mlflow", MLflow),
    }
)


def parse_tracker(text: str) -> Tracker:
    """Return the tracker that `NAME[:WHERE]` names.

    Raises:
        SettingsError: The name is unknown, or the package is missing.
    """
    name, _, place = text.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        known = ", ".join(KINDS)
        raise SettingsError(f"--track {text!r}: unknown; known are {known}", field="track")
    spec = find_spec(kind.package)
    if spec is None or spec.origin is None:  # a mere folder of that name is no package
        raise SettingsError(
            f"--track {name} needs the package {kind.package}, which is not installed: "
            f"pip install 'adapterhub[{kind.package}]'",
            field="track",
        )
    return kind.make(place)


class Tracked:
    """Tells a listener everything, and trackers the numbers.

    Trackers get `train/loss`, `train/learning_rate`, `train/tokens_per_second` every few updates,
    `dev/chrfpp` at every look, and the final scores as `test/<metric>_<system>`.
    """

    def __init__(self, listener: Progress, trackers: Sequence[Tracker]) -> None:
        """Take them; nothing is started."""
        self._listener = listener
        self._trackers = list(trackers)
        self._last: UpdateReport | None = None

    def start(self, run: TrackedRun) -> None:
        """Begin the records."""
        self._each(lambda tracker: tracker.start(run))

    def stage(self, title: str) -> None:
        """Pass the title on."""
        self._listener.stage(title)

    def updated(self, report: UpdateReport) -> None:
        """Pass the report on, and its numbers now and then."""
        first, self._last = self._last is None, report
        if first or report.step % TRACK_EVERY == 0 or report.step == report.max_updates:
            self._log(
                report.step,
                {
                    "train/loss": report.loss,
                    "train/learning_rate": report.learning_rate,
                    "train/tokens_per_second": report.tokens_per_second,
                },
            )
        self._listener.updated(report)

    def skipped(self, step: int, lines: str) -> None:
        """Pass it on."""
        self._listener.skipped(step, lines)

    def evaluated(self, step: int, score: float, *, best: bool) -> None:
        """Pass the score on."""
        self._log(step, {"dev/chrfpp": score})
        self._listener.evaluated(step, score, best=best)

    def scored(self, step: int, scores: Mapping[str, float]) -> None:
        """Log the final scores at the last update, which an earlier process may have made."""
        self._log(step, {f"test/{name}": value for name, value in scores.items()})

    def close(self) -> None:
        """Pass it on."""
        self._listener.close()

    def finish(self, *, well: bool) -> None:
        """End the records."""
        self._each(lambda tracker: tracker.finish(well=well))

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        self._each(lambda tracker: tracker.log(step, values))

    def _each(self, act: Callable[[Tracker], None]) -> None:
        """Let every tracker act; one that fails takes no further part."""
        from hub.console import note

        for tracker in tuple(self._trackers):
            try:
                with redirect_stdout(sys.stderr):  # standard output is for results
                    act(tracker)
            except Exception as error:
                self._trackers.remove(tracker)
                note(f"{type(tracker).__name__} failed and is left out: {error}")


@contextmanager
def tracked(listener: Progress, asked: Sequence[str]) -> Iterator[Tracked]:
    """Yield the listener with the trackers that were asked for; end them with the block.

    Raises:
        SettingsError: A tracker is unknown, or its package is missing.
    """
    tracking = Tracked(listener, [parse_tracker(text) for text in asked])
    well = False
    try:
        yield tracking
        well = True
    finally:
        tracking.finish(well=well)
