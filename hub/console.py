"""What commands print: tables, progress and errors.

Results go to standard output, everything about the work to standard error. Results
are UTF-8 whatever the locale says, because they are data: files and programs that
read them expect it, and an escaped translation would be a wrong one. Messages are
for people, in the encoding of their locale, with escapes for what that lacks.
NO_COLOR is respected, and where the output is not a terminal there is neither
colour nor a moving bar. Rich is imported on first use.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN_INTERVAL: Final = 5.0  # seconds between two lines of progress without a terminal


def prepare_streams() -> None:
    """Give the process's standard streams encodings that can write any text.

    A stream that was closed before the start is pointed at nothing, so that no file that is
    opened later takes its number.
    """
    import os

    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # This takes the lowest free number, which is the closed one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


@cache
def out() -> Console:
    """Return the console of results: standard output."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


@cache
def err() -> Console:
    """Return the console of progress and messages: standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_error(message: str) -> None:
    """Print `error: message` on standard error."""
    err().print("[bold red]error:[/]", end=" ")
    err().print(printable(message), markup=False)


def note(message: str) -> None:
    """Print a line about the work on standard error."""
    err().print(printable(message), markup=False)


def printable(text: str) -> str:
    """Return the text with lone surrogates and control characters escaped."""
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or c.isprintable() else ascii(c)[1:-1] for c in text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """Print a table; a column whose header starts with ">" is aligned right.

    Without a terminal the rows come as tab-separated values under one header line,
    so that they can be piped.
    """
    names = [name.removeprefix(">") for name in columns]
    if not out().is_terminal:
        for row in (names, *rows):
            print("\t".join(_one_cell(cell) for cell in row))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", header_style="bold")
    for column, name in zip(columns, names, strict=True):
        table.add_column(name, justify="right" if column.startswith(">") else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    out().print(table, soft_wrap=False)


def _one_cell(text: str) -> str:
    return " ".join(printable(text).split())


@dataclass
class Progress:
    """One running piece of work; `advance` moves it, `status` says how it goes."""

    description: str
    total: float | None
    show: Callable[[Progress], None] = field(repr=False)
    done: float = 0.0
    status: str = ""

    def advance(self, by: float = 1.0, status: str | None = None) -> None:
        """Add to what is done, and replace the status where one is given."""
        self.update(self.done + by, status)

    def update(self, done: float, status: str | None = None) -> None:
        """Set what is done, and replace the status where one is given."""
        self.done = done
        self.status = self.status if status is None else status
        self.show(self)


@contextmanager
def progress(description: str, total: float | None = None, done: int = 0) -> Iterator[Progress]:
    """Show a bar on standard error while the block runs.

    Without a terminal, a plain line is printed at the start, at most every five
    seconds, and at the end. Both say how long it will still take.

    Args:
        description: What is being done, in a few words.
        total: The amount at which it is done, None if unknown.
        done: What was done before, which says nothing of the speed.
    """
    shown = _bar if err().is_terminal else _lines
    showing = shown(description, total, done)
    with showing as work:
        yield work


@contextmanager
def _bar(description: str, total: float | None, done: int) -> Iterator[Progress]:
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}", markup=False),
    )
    with RichProgress(*columns, console=err()) as bars:
        task = bars.add_task(description, total=total, completed=done, status="")
        yield Progress(
            description,
            total,
            lambda work: bars.update(task, completed=work.done, status=work.status),
            done=done,
        )


@contextmanager
def _lines(description: str, total: float | None, done: int) -> Iterator[Progress]:
    started = last = time.monotonic()

    def show(work: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PLAIN_INTERVAL:
            last = now
            left = _seconds_left(work, done, now - started)
            note(f"{_line(work)}  {duration(left)} left" if left is not None else _line(work))

    work = Progress(description, total, show, done=done)
    note(f"{description} …")
    yield work
    note(_line(work))


def _seconds_left(work: Progress, before: float, spent: float) -> float | None:
    """Return how long the rest takes at the speed so far, None where that is not known."""
    if not work.total or work.done <= before:
        return None
    return spent * max(0.0, work.total - work.done) / (work.done - before)


def size_text(count: int) -> str:
    """Return a number of bytes as people read it, such as 2.46 GB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """Return a time in hours, minutes and seconds, such as 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _line(work: Progress) -> str:
    share = f" {100 * work.done / work.total:.0f}%" if work.total else ""
    return f"{work.description}{share} {work.status}".rstrip()


def silence_stdout() -> None:
    """Point standard output at nothing, after its reader has gone away."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
