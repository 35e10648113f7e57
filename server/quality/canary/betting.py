"""Is the canary worse? A sequential test by betting, which may be looked at after every request.

For each thing in which a canary may be worse, a gambler bets against "the canary is not worse by
more than the margin". Each request doubles or shrinks his capital a little; while the hypothesis is
true his capital is a non-negative supermartingale that starts at 1, so that it ever reaches 1/alpha
with a probability of at most alpha (Ville 1939), however often and for however long one looks.

A request goes to the canary with probability f, by a hash of its key. With y the request's value
(higher is better, clipped to [low, high]), m a guess of y made before the request, and A = 1 for
the canary, the Horvitz-Thompson difference

    x = (y - m) / f            where A = 1
    x = -(y - m) / (1 - f)     where A = 0

has the expectation E[y | canary] - E[y | stable] of this very request, whatever the guess and
whatever came before. Requests may differ as they like and drift as they like: only the assignment
has to be random (Howard et al. 2021, arXiv 1810.08240, section 4.2). With b = max of x, a gambler
who stakes the share s of his capital has after the request

    capital * (1 + s * (-margin - x) / (b + margin)),    0 < s < 1,

which is never negative, and in expectation no more than before when E[x] >= -margin. This is the
capital process of Waudby-Smith and Ramdas 2024 (arXiv 2010.09686, section 4) on one side; as the
best stake is not known, the capital is split over a grid of stakes and over all signals, and the
sum is what counts ("grid-Kelly" there; a mean of such processes is one). Hence alpha bounds the
probability of a false rollback over all signals together and over the whole life of a canary.

Logarithms of capitals are sums over requests: servers add theirs.

Pure: no clock, no randomness of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

ALPHA: Final = 0.01
"""Bounds the probability that a canary that is not worse is ever rolled back."""
STAKES: Final = tuple(0.9 / 2**power for power in range(8))

Sums = dict[str, float]


@dataclass(frozen=True, slots=True)
class Signal:
    """Something in which a canary may be worse.

    Attributes:
        low: Values below are taken for it, and those above `high` likewise.
        margin: How much worse it may be, in the signal's own units.
        guess: What is expected before anything is known.
        worse: The directions that are bad: -1 for lower values, +1 for higher ones; none for what
            is shown only.
    """

    name: str
    low: float
    high: float
    margin: float
    guess: float
    worse: tuple[int, ...]

    def clipped(self, value: float) -> float:
        """Return a value within the bounds."""
        return min(self.high, max(self.low, value))


@dataclass(frozen=True, slots=True)
class Side:
    """A signal in one direction; `sign` turns it so that higher is better."""

    signal: Signal
    sign: int

    @property
    def name(self) -> str:
        """Return the signal's name, with an arrow where both directions are bad."""
        if len(self.signal.worse) == 1:
            return self.signal.name
        return f"{self.signal.name} {'up' if self.sign < 0 else 'down'}"

    def bet(self, value: float, guess: float, fraction: float, *, canary: bool) -> float:
        """Return what a stake of 1 wins on a request, at least -1.

        Args:
            value: The request's, within the signal's bounds.
            guess: As it was before the request.
            fraction: Of the requests that go to the canary.
            canary: Whether this one did.
        """
        ends = self.sign * self.signal.low, self.sign * self.signal.high
        low, high, centre = min(ends), max(ends), self.sign * guess
        off = self.sign * value - centre
        difference = off / fraction if canary else -off / (1 - fraction)
        most = max((high - centre) / fraction, (centre - low) / (1 - fraction))
        return (-self.signal.margin - difference) / (most + self.signal.margin)


def sides_of(signals: Sequence[Signal]) -> tuple[Side, ...]:
    """Return what is bet on."""
    return tuple(Side(signal, -sign) for signal in signals for sign in signal.worse)


def observe(
    sums: Mapping[str, float],
    signals: Sequence[Signal],
    values: Mapping[str, float],
    fraction: float,
    *,
    canary: bool,
) -> Sums:
    """Return what a request adds to the sums.

    Args:
        sums: As they were before it; guesses are made from them.
        signals: What is looked at.
        values: Of the request, by signal; one that is missing counts as just as expected.
        fraction: Of the requests that go to the canary.
        canary: Whether this one did.
    """
    arm = arm_name(canary=canary)
    more: Sums = {f"n.{arm}": 1.0}
    for signal in signals:
        guess = _guess(sums, signal)
        value = signal.clipped(values.get(signal.name, guess))
        more[f"sum.{arm}.{signal.name}"] = value
        for side in sides_of((signal,)):
            won = side.bet(value, guess, fraction, canary=canary)
            for index, stake in enumerate(STAKES):
                more[f"log.{side.name}.{index}"] = math.log1p(stake * won)
    return more


def arm_name(*, canary: bool) -> str:
    """Return what an arm is called."""
    return "canary" if canary else "stable"


def _guess(sums: Mapping[str, float], signal: Signal) -> float:
    """Return the mean so far over both arms, the first guess counting as one request."""
    total = signal.guess + sum(_get(sums, f"sum.{arm}.{signal.name}") for arm in _ARMS)
    return total / (1 + sum(_get(sums, f"n.{arm}") for arm in _ARMS))


_ARMS: Final = ("stable", "canary")


def _get(sums: Mapping[str, float], key: str) -> float:
    return sums.get(key, 0.0)


def requests(sums: Mapping[str, float], *, canary: bool) -> int:
    """Return how many requests an arm has served."""
    return round(_get(sums, f"n.{arm_name(canary=canary)}"))


def mean(sums: Mapping[str, float], signal: Signal, *, canary: bool) -> float | None:
    """Return an arm's mean of a signal, None before its first request."""
    arm = arm_name(canary=canary)
    number = _get(sums, f"n.{arm}")
    return _get(sums, f"sum.{arm}.{signal.name}") / number if number else None


def log_capital(sums: Mapping[str, float], side: Side) -> float:
    """Return the natural logarithm of the capital that was won on one side, from 1."""
    return _log_mean([_get(sums, f"log.{side.name}.{index}") for index in range(len(STAKES))])


def log_evidence(sums: Mapping[str, float], signals: Sequence[Signal]) -> float:
    """Return the natural logarithm of the evidence against the canary: the mean capital."""
    return _log_mean([log_capital(sums, side) for side in sides_of(signals)])


def strongest(sums: Mapping[str, float], signals: Sequence[Signal]) -> Side:
    """Return the side that speaks most against the canary."""
    return max(sides_of(signals), key=lambda side: log_capital(sums, side))


def _log_mean(logs: Sequence[float]) -> float:
    most = max(logs)
    return most + math.log(sum(math.exp(one - most) for one in logs) / len(logs))


def keys(signals: Sequence[Signal]) -> Iterator[str]:
    """Yield the names of all sums."""
    for arm in _ARMS:
        yield f"n.{arm}"
        yield from (f"sum.{arm}.{signal.name}" for signal in signals)
    for side in sides_of(signals):
        yield from (f"log.{side.name}.{index}" for index in range(len(STAKES)))
