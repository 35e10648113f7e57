"""Learning rate by step: linear warm-up, then one of three declines. Pure arithmetic, no torch."""

from __future__ import annotations

import math
from typing import Final

SCHEDULES: Final = ("inverse-sqrt", "cosine", "linear", "constant")


def learning_rate(step: int, *, peak: float, schedule: str, warmup: int, max_updates: int) -> float:
    """Return the learning rate of update `step`, counted from 1.

    The rate rises linearly to `peak` at step `warmup`. After it, `inverse-sqrt` follows
    √(warmup / step) (Vaswani et al. 2017, §5.3), `cosine` and `linear` reach 0 at `max_updates`,
    and `constant` stays.

    Raises:
        ValueError: The schedule is unknown.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule is {schedule!r}; known are {', '.join(SCHEDULES)}")
    if step < warmup:
        return peak * step / warmup
    if schedule == "constant":
        return peak
    if schedule == "inverse-sqrt":
        return peak * math.sqrt(max(warmup, 1) / max(step, 1))
    done = min(1.0, (step - warmup) / max(max_updates - warmup, 1))
    if schedule == "linear":
        return peak * (1.0 - done)
    return peak * 0.5 * (1.0 + math.cos(math.pi * done))
