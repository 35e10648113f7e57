"""How much may join in one turn, so that rows that are decoding are held up for one step at most.

Whoever joins a running batch is paid for by those who run: its adapter is copied into a slot and
its source is encoded before the next decoder step. `Pace` learns what both cost from what they
took, and allows per turn what fits the time of one decoder step. Two things are let in regardless,
or nobody ever would be: one request, whatever it takes, and `LEAST_TOKENS` of short sources.

An encoder pass has a fixed price, so its time per token says little about a larger pass. The
allowance is therefore steered: a pass that took less than a step raises it, at most to the double;
one that took more lowers it, at most to the half.

Pure: seconds come in, limits go out; there is no clock here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from server.scheduler import Allowance

LEAST_TOKENS: Final = 64
MOST_TURNS: Final = 4
_ROWS_PER_TURN: Final = 16
_SMOOTHING: Final = 0.2
_FIRST_GUESS: Final = 1e-9
"""Seconds per byte placed, until the first placement: 1 GB/s."""


@dataclass(slots=True)
class Pace:
    """What joining has cost of late.

    Attributes:
        tokens: Source tokens that an encoder pass of one step's time takes.
        step_seconds: Mean of a decoder step; 0 before the first.
        seconds_per_byte: Mean of placing one byte.
    """

    tokens: float = LEAST_TOKENS
    step_seconds: float = 0.0
    seconds_per_byte: float = _FIRST_GUESS

    def note_step(self, tokens: int, encode_seconds: float, decode_seconds: float) -> None:
        """Learn from a step.

        Args:
            tokens: Source tokens that were encoded in it.
            encode_seconds: How long that took.
            decode_seconds: How long the decoder took.
        """
        if decode_seconds <= 0:
            return
        self.step_seconds = _mean(self.step_seconds or decode_seconds, decode_seconds)
        if tokens and encode_seconds > 0:
            self._steer(tokens * self.step_seconds / encode_seconds, encode_seconds)

    def note_placement(self, nbytes: int, seconds: float) -> None:
        """Learn from an adapter's way into a slot."""
        if nbytes > 0 and seconds > 0:
            self.seconds_per_byte = _mean(self.seconds_per_byte, seconds / nbytes)

    def allowance(self) -> Allowance:
        """Return what may join next while rows are decoding."""
        return Allowance(self.tokens, self.step_seconds / self.seconds_per_byte)

    def _steer(self, fitting: float, encode_seconds: float) -> None:
        if encode_seconds > self.step_seconds:
            self.tokens = min(self.tokens, max(fitting, self.tokens / 2))
        elif fitting > self.tokens:
            self.tokens = min(fitting, self.tokens * 2)
        self.tokens = max(self.tokens, LEAST_TOKENS)


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
