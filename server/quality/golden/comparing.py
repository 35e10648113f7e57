"""Two versions on the same golden lines: is one worse than chance explains?

Both have translated the same lines, so each line is a pair. If the canary is no worse, it is as
likely to win a line by some points of chrF++ as to lose it by as many; so the signs of the
differences may be thrown anew, and the share of throws in which the canary loses as much as it did
is a p-value (paired approximate randomisation: Noreen 1989; Riezler and Maxwell 2005). It needs no
assumption about how differences are spread: most are 0 and some are large.

Translations of the same lines by the same files do not change, so there is one comparison of a
canary, not one for each look, and the p-value needs no correction for being looked at again.

Pure: no clock; throws are of a generator of its own with a fixed seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hub.chrf import chrf

ALPHA: Final = 0.01
"""Bounds the probability that a canary that is not worse is found to be."""
MARGIN: Final = 1.0
"""Points of chrF++ that a canary may lose whatever the p-value."""
THROWS: Final = 9_999
_EXACT: Final = 13
"""Lines that differ, up to which all throws are made: fewer than the random ones."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing a canary with the version in use.

    Attributes:
        stable: chrF++ of the version in use, now.
        tried: chrF++ of the canary.
        p: Probability of such a loss, or a greater one, if the canary were no worse.
        lines: That were translated.
    """

    stable: float
    tried: float
    p: float
    lines: int

    @property
    def worse(self) -> bool:
        """Tell whether the canary is worse, by more than the margin and more than by chance."""
        return self.p <= ALPHA and self.stable - self.tried > MARGIN

    def __str__(self) -> str:
        """Say it to people."""
        return (
            f"chrF++ of {self.lines} golden lines is {self.tried:.1f}, of the version in use "
            f"{self.stable:.1f} (p = {self.p:.2g})"
        )


def compare(references: Sequence[str], stable: Sequence[str], tried: Sequence[str]) -> Comparison:
    """Compare translations of the same lines.

    Args:
        references: Of the lines.
        stable: By the version in use.
        tried: By the canary.
    """
    differences = [
        chrf([other], [reference]) - chrf([own], [reference])
        for reference, own, other in zip(references, stable, tried, strict=True)
        if own != other
    ]
    return Comparison(
        stable=chrf(stable, references),
        tried=chrf(tried, references),
        p=p_of(differences),
        lines=len(references),
    )


def p_of(differences: Sequence[float]) -> float:
    """Return the one-sided p-value of differences that are expected to be 0 or above.

    All throws are counted where there are few, else random ones; with these the throw that was
    observed counts as one of them, which keeps the p-value valid (Phipson and Smyth 2010).
    """
    own = [one for one in differences if one]
    observed = sum(own) + 1e-9  # a tie is as extreme
    if len(own) <= _EXACT:
        throws = range(2 ** len(own))
        return sum(_thrown(own, signs) <= observed for signs in throws) / len(throws)
    chance = random.Random(0)
    found = sum(_thrown(own, chance.getrandbits(len(own))) <= observed for _ in range(THROWS))
    return (1 + found) / (1 + THROWS)


def _thrown(differences: Sequence[float], signs: int) -> float:
    """Return the sum of differences with other signs: those of set bits are turned round."""
    return sum(-one if signs >> index & 1 else one for index, one in enumerate(differences))
