"""Ctrl-C during training: the first asks, the second insists. SIGTERM asks too.

Schedulers and launchers send SIGTERM some seconds before they kill, and a launcher whose Ctrl-C it
was sends it to processes that heard of it already.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


class StopSignal(Protocol):
    """Says whether training should stop at the next update boundary."""

    @property
    def requested(self) -> bool:
        """Whether a stop was asked for."""


class Never:
    """A run that nobody interrupts."""

    requested = False


class StopRequest:
    """Remembers that a stop was asked for."""

    def __init__(self) -> None:
        """Start with no request."""
        self.requested = False

    def ask(self) -> None:
        """Ask for a stop."""
        self.requested = True


@contextmanager
def stop_on_interrupt() -> Iterator[StopRequest]:
    """Turn the first SIGINT into a request; the second raises KeyboardInterrupt as usual.

    SIGTERM is a request however often it comes.

    Outside the main thread Python delivers no signals, and this only yields the request.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        request.ask()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stderr.write(
            "\nstopping after this update and keeping what is trained; Ctrl-C again to drop it\n"
        )
        sys.stderr.flush()

    before = signal.signal(signal.SIGINT, handle)
    terminated = signal.signal(signal.SIGTERM, lambda number, frame: request.ask())
    try:
        yield request
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, terminated)
