"""Adapters that an operator wants in memory: loads that nobody's text waits for, and pins.

Used on the engine thread only. A hold is answered once: with where the adapter is, or with why it
cannot be there. A caller that went away is neither answered nor obeyed.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from hub.errors import EngineError, HubError, RequestCancelledError
from server.messages import LoadedAdapter
from server.protocols import Adapter
from server.residency.tiers import Stock

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Hold:
    """An adapter to be loaded.

    Attributes:
        size: Bytes of its files.
        pin: Whether it is to stay until it is unloaded.
    """

    digest: str
    size: int
    pin: bool
    answer: Future[LoadedAdapter]


class Holds(Generic[Adapter]):
    """The holds that wait for their adapter."""

    def __init__(self, stock: Stock[Adapter]) -> None:
        self._stock = stock
        self._waiting: dict[str, list[Hold]] = {}

    def ask(self, hold: Hold) -> None:
        """Answer a hold now if that can be, else let it wait."""
        self._stock.keep(hold.digest)
        error = self._stock.refusal_by_files(hold.digest, hold.size)
        if error is not None:
            answer_with_error(hold.answer, error)
        elif self._at_hand(hold):
            self._fulfil(hold)
        else:
            self._waiting.setdefault(hold.digest, []).append(hold)

    def wanted(self) -> dict[str, int]:
        """Return what has to be loaded: digest → estimated bytes, in order of asking."""
        self._forget_the_gone()
        return {digest: holds[0].size for digest, holds in self._waiting.items()}

    def note_load(self, digest: str, error: HubError | None) -> None:
        """Answer those that waited for a load that has ended."""
        if error is not None:
            for hold in self._waiting.pop(digest, ()):
                answer_with_error(hold.answer, error)
        elif self._stock.host.is_ready(digest):  # else it was evicted at once and is loaded again
            for hold in self._waiting.pop(digest, ()):
                self._fulfil(hold)

    def unload(self, digest: str) -> bool:
        """Drop an adapter and whatever holds it; return whether it was in memory."""
        gone = RequestCancelledError(f"adapter {digest} was unloaded while it was being loaded")
        self.note_load(digest, gone)
        return self._stock.unload(digest)

    def close(self, reason: HubError) -> None:
        """Answer all that are left with an error."""
        for digest in list(self._waiting):
            self.note_load(digest, reason)

    def _at_hand(self, hold: Hold) -> bool:
        placed = hold.digest in self._stock.device
        return self._stock.host.is_ready(hold.digest) or (placed and not hold.pin)

    def _fulfil(self, hold: Hold) -> None:
        found = self._stock.find(hold.digest)
        error: HubError | None = None
        if found is None:
            error = EngineError(f"adapter {hold.digest} was loaded and is not in memory")
        elif hold.pin:
            error = self._stock.pin_refusal(hold.digest, self._stock.host.size(hold.digest))
        if error is not None:
            answer_with_error(hold.answer, error)
        elif hold.answer.set_running_or_notify_cancel():
            if hold.pin:
                self._stock.host.pin(hold.digest)
                found = self._stock.find(hold.digest)
            assert found is not None
            hold.answer.set_result(found)

    def _forget_the_gone(self) -> None:
        left = {
            digest: [hold for hold in holds if not hold.answer.cancelled()]
            for digest, holds in self._waiting.items()
        }
        self._waiting = {digest: holds for digest, holds in left.items() if holds}


def answer_with(future: Future[Result], result: Result) -> None:
    """Set a result unless the asker has gone away."""
    if future.set_running_or_notify_cancel():
        future.set_result(result)


def answer_with_error(future: Future[Any], error: HubError) -> None:
    """Set an error unless the asker has gone away."""
    if future.set_running_or_notify_cancel():
        future.set_exception(error)
