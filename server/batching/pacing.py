"""How much may join in one turn, so that rows that are decoding are held up for one step at most.

Whoever joins a running batch is paid for by those who run: its adapter is copied into a slot and
its source is encoded before it can decode. The engine encodes in slices, a few layers before each
decoder step. `Pace` learns what steps, encoding and placing cost from what they took, and says how
long a slice may take, how many tokens a pass should have so that it ends within `SLICES` of them,
and how many bytes may be placed in a turn. Two things are let in regardless, or nobody ever would
be: one request, whatever it takes, and `LEAST_TOKENS` of short sources.

Pure: seconds come in, limits go out; there is no clock here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from server.batching.turn import Allowance

LEAST_TOKENS: Final = 64
SLICES: Final = 4
SLICE: Final = 0.7
"""Of a step's time; what is left is for a layer that takes longer than the one before."""
PLACING: Final = 0.5
"""Of a step's time; what placing takes, the slice after it has less."""
MOST_TURNS: Final = 4
_ROWS_PER_TURN: Final = 16
_SMOOTHING: Final = 0.2
_FIRST_GUESS: Final = 1e-9
"""Seconds per byte placed, until the first placement: 1 GB/s."""


@dataclass(slots=True)
class Pace:
    """What joining has cost of late.

    Attributes:
        step_seconds: Mean of a decoder step; 0 before the first.
        seconds_per_token: Mean of encoding one source token; 0 before the first.
        seconds_per_byte: Mean of placing one byte.
    """

    step_seconds: float = 0.0
    seconds_per_token: float = 0.0
    seconds_per_byte: float = _FIRST_GUESS

    def note_step(self, tokens: float, encode_seconds: float, decode_seconds: float) -> None:
        """Learn from a step.

        Args:
            tokens: Source tokens that were encoded in it; half of those that went half the way.
            encode_seconds: How long that took.
            decode_seconds: How long the decoder took.
        """
        if decode_seconds > 0:
            self.step_seconds = _mean(self.step_seconds or decode_seconds, decode_seconds)
        if tokens > 0 and encode_seconds > 0:
            price = encode_seconds / tokens
            self.seconds_per_token = _mean(self.seconds_per_token or price, price)

    def note_placement(self, nbytes: int, seconds: float) -> None:
        """Learn from an adapter's way into a slot."""
        if nbytes > 0 and seconds > 0:
            self.seconds_per_byte = _mean(self.seconds_per_byte, seconds / nbytes)

    def allowance(self) -> Allowance:
        """Return what may join next while rows are decoding."""
        tokens = 0.0
        if self.seconds_per_token:
            tokens = SLICES * SLICE * self.step_seconds / self.seconds_per_token
        nbytes = PLACING * self.step_seconds / self.seconds_per_byte
        return Allowance(max(tokens, LEAST_TOKENS), nbytes)

    def slice_seconds(self, placing: float) -> float:
        """Return how long encoding may hold up the next step.

        Args:
            placing: Seconds for which placing has held it up already.
        """
        if not self.step_seconds:
            return math.inf
        return max(0.0, SLICE * self.step_seconds - placing)


@dataclass(slots=True)
class Gathering:
    """Lets requests join a full batch together rather than one by one.

    Rows leave one at a time, and an encoder pass reads every weight for two sources as for eight.
    While more than half of the rows run, whoever could join waits until `MOST_TURNS` turns have
    passed since the last joining; batches too small to matter never wait.
    """

    max_rows: int
    _turns: int = 0

    def ready(self, running: int) -> bool:
        """Return whether requests may join now; asked once a turn, with the rows that run."""
        self._turns += 1
        wait = min(MOST_TURNS, self.max_rows // _ROWS_PER_TURN)
        return 2 * running <= self.max_rows or self._turns >= wait

    def joined(self) -> None:
        """Note that somebody joined."""
        self._turns = 0


def _mean(old: float, new: float) -> float:
    return old + _SMOOTHING * (new - old)
