"""What a run tells while it runs: stages, updates, dev scores."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hub.console import Progress as ConsoleProgress


@dataclass(frozen=True)
class UpdateReport:
    """How training stands after an update.

    Attributes:
        loss: Label-smoothed cross-entropy per target token, smoothed over recent updates.
        tokens_per_second: Source and target tokens, without padding.
        dev_score: chrF++ of the latest look at the dev set, None before the first.
    """

    step: int
    max_updates: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    dev_score: float | None


class Progress(Protocol):
    """Listens to a run."""

    def stage(self, title: str) -> None:
        """Hear that the next part of the run begins."""

    def updated(self, report: UpdateReport) -> None:
        """Hear of one update."""

    def skipped(self, step: int, lines: str) -> None:
        """Hear that an update was left out, and on which lines its loss was not finite."""

    def evaluated(self, step: int, score: float, *, best: bool) -> None:
        """Hear a dev score."""

    def close(self) -> None:
        """Hear that the run is over, whether well or not."""


class Silent:
    """Tells nobody."""

    def stage(self, title: str) -> None:
        """Ignore."""

    def updated(self, report: UpdateReport) -> None:
        """Ignore."""

    def skipped(self, step: int, lines: str) -> None:
        """Ignore."""

    def evaluated(self, step: int, score: float, *, best: bool) -> None:
        """Ignore."""

    def close(self) -> None:
        """Ignore."""


class Console:
    """Shows a bar on standard error where that is a terminal, and plain lines elsewhere."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._bar: ConsoleProgress | None = None
        self._open = ExitStack()

    def stage(self, title: str) -> None:
        """Print the stage's title."""
        from hub.console import note

        self.close()
        note(title)

    def updated(self, report: UpdateReport) -> None:
        """Move the bar."""
        if self._bar is None:
            from hub.console import progress

            self._bar = self._open.enter_context(
                progress("training", report.max_updates, report.step - 1)
            )
        self._bar.update(report.step, _figures(report))

    def skipped(self, step: int, lines: str) -> None:
        """Print which update was left out, and why."""
        from hub.console import note

        note(f"update {step} left out: loss or gradient not finite on {lines}")

    def evaluated(self, step: int, score: float, *, best: bool) -> None:
        """Print the score above the bar, which shows it until the next one."""
        from hub.console import note

        note(f"update {step}: dev chrF++ {score:.2f}{', the best so far' if best else ''}")

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._open.close()
        self._bar = None


def _figures(report: UpdateReport) -> str:
    score = "–" if report.dev_score is None else f"{report.dev_score:.1f}"
    return f"loss {report.loss:.2f}  dev chrF++ {score}  {report.tokens_per_second:,.0f} tokens/s"
