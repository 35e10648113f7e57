"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def return_freed_memory() -> None:
    """Give back what the C library keeps of freed memory.

    Loading a base reads every weight in float32 and packs it. What glibc keeps of that for later is
    several times the packed base. Other C libraries keep less, and have no such call.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
