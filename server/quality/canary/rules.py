"""What is looked at of a canary, and what follows from it: wait, roll back, promote.

Margins say how much worse is still acceptable. Without them a test that never ends would find any
difference there is, and no two adapters are equal: a better one may well be a little less sure of
itself. docs/canary.md shows what they were chosen after.

Pure: no clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from server.quality.canary.betting import (
    ALPHA,
    Signal,
    log_evidence,
    mean,
    requests,
    strongest,
)
from server.quality.golden.comparing import Comparison
from server.quality.golden.findings import Finding

LOG_PROBABILITY: Final = Signal("log_probability", -3.0, 0.0, margin=0.1, guess=-0.4, worse=(-1,))
"""Mean log-probability of an output token; the lowest for a text with a warning.

Else a version that loops, and is very sure of it, would make every sound one look worse.
"""
WARNED: Final = Signal("warned", 0.0, 1.0, margin=0.02, guess=0.02, worse=(1,))
"""Share of the texts with a warning of a harm: `server.quality.canary.values`."""
FAILED: Final = Signal("failed", 0.0, 1.0, margin=0.01, guess=0.0, worse=(1,))
"""Share of the texts that the adapter failed on."""
REPETITION: Final = Signal("repetition", 0.0, 1.0, margin=0.02, guess=0.02, worse=(1,))
"""Share of the output that lies in a loop."""
SLOWNESS: Final = Signal("slowness", -14.0, 3.0, margin=1.0, guess=-7.0, worse=(1,))
"""Logarithm to base 2 of the seconds of encoding and decoding, by tokens read and written."""
LENGTH: Final = Signal("length", -2.0, 2.0, margin=0.2, guess=0.2, worse=())
"""Natural logarithm of output tokens by source tokens. Shown only: of two versions that differ in
it, nobody can tell without a reference which one is right. Lengths that cannot be right are warned
of."""

SIGNALS: Final = (LOG_PROBABILITY, WARNED, FAILED, REPETITION, SLOWNESS, LENGTH)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done with a canary.

    Attributes:
        reason: Why, for people.
    """

    action: Literal["wait", "roll back", "promote"]
    reason: str = ""


def judge(
    sums: Mapping[str, float],
    promote_after: int,
    alpha: float = ALPHA,
    golden: Finding = "none",
) -> Verdict:
    """Return what is to be done with a canary.

    Args:
        sums: All that is known of it.
        promote_after: Requests that it has to serve to be promoted; 0 for never.
        alpha: Bounds the probability of a false rollback by what was seen of requests.
        golden: What golden lines say; it is not promoted before they have been asked.
    """
    served = requests(sums, canary=True)
    if log_evidence(sums, SIGNALS) >= -math.log(alpha):
        return Verdict("roll back", _why(sums, served))
    if isinstance(golden, Comparison) and golden.worse:
        return Verdict("roll back", str(golden))
    if 0 < promote_after <= served and golden != "pending":
        told = f"; {golden}" if isinstance(golden, Comparison) else ""
        return Verdict("promote", f"not worse in {served:,} requests{told}")
    return Verdict("wait")


def _why(sums: Mapping[str, float], served: int) -> str:
    side = strongest(sums, SIGNALS)
    signal = side.signal
    values = (mean(sums, signal, canary=True), mean(sums, signal, canary=False))
    tried, stable = ("none" if value is None else f"{value:.3g}" for value in values)
    return (
        f"{signal.name} is {tried}, of the version in use {stable}, which is more than "
        f"{signal.margin:g} worse; after {served:,} requests"
    )
