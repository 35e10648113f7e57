"""Waiting for what another thread or process does, with patience for a busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(done: Callable[[], bool], seconds: float = 30) -> None:
    """Return once `done`; fail after `seconds`."""
    ends = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < ends, f"not so after {seconds:.0f} s"
        time.sleep(0.02)
