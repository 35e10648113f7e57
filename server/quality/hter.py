"""HTER of post-edits, measured beside the server: one at a time, by a process of its own.

TER is pure Python and takes seconds for an unlucky pair of long sentences, so it may run neither on
the event loop nor on another thread of this process, whose steps it would hold up. Edits wait in a
bounded queue; what finds no room, or is too long, is counted and not measured.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Full, Queue
from typing import Final

from hub.feedback.records import PostEdit
from hub.ter import CHINESE, UNSPACED

MAX_WORDS: Final = 120
"""Longest hypothesis and correction. The unluckiest pair takes some five seconds."""
BACKLOG: Final = 1000

_log = logging.getLogger("adapterhub.server")


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found: edits from hypothesis to correction, and words of the correction."""

    number: int
    edit: PostEdit
    changes: float
    words: float


class HterMeter:
    """Measures post-edits on a thread that asks a child process; both start with the first one."""

    def __init__(self, done: Callable[[Measured], None]) -> None:
        """Take what hears of each measurement, on the meter's thread."""
        self._done = done
        self._queue: Queue[tuple[int, PostEdit] | None] = Queue(BACKLOG)
        self._thread: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False

    def offer(self, number: int, edit: PostEdit) -> str:
        """Take an edit to be measured; return why it is not, "" where it is."""
        if too_long(edit):
            return "too_long"
        try:
            self._queue.put_nowait((number, edit))
        except Full:
            return "backlog"
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hter", daemon=True)
            self._thread.start()
        return ""

    def wait(self) -> None:
        """Wait until everything that was offered is measured."""
        self._queue.join()

    def close(self) -> None:
        """Stop; what still waits is not measured."""
        self._closed = True
        if self._thread is None:
            return
        with suppress(Full):
            self._queue.put_nowait(None)
        self._end_child()
        self._thread.join()
        self._end_child()

    def _run(self) -> None:
        while (job := self._queue.get()) is not None and not self._closed:
            try:
                self._measure(*job)
            except Exception as error:  # the next edit gets a new process
                self._end_child()
                if not self._closed:
                    _log.warning("HTER of post-edit %d is not known: %r", job[0], error)
            finally:
                self._queue.task_done()

    def _measure(self, number: int, edit: PostEdit) -> None:
        child = self._running_child()
        assert child.stdin is not None
        assert child.stdout is not None
        line = json.dumps([edit.hypothesis, edit.correction, edit.pair.target])
        child.stdin.write(line.encode() + b"\n")
        child.stdin.flush()
        changes, words = json.loads(child.stdout.readline())
        self._done(Measured(number, edit, changes, words))

    def _running_child(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "hub.ter"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the server's to hear
            )
        return self._child

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def too_long(edit: PostEdit) -> bool:
    """Tell whether measuring an edit would take too long."""
    language = edit.pair.target.partition("-")[0]
    by_character = language in CHINESE | UNSPACED | {"ja"}
    return any(
        (len(text) if by_character else len(text.split())) > MAX_WORDS
        for text in (edit.hypothesis, edit.correction)
    )
