"""What a call costs that is known only once the request was looked into, such as a file's text."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

_current: ContextVar[Callable[[int], None] | None] = ContextVar("charge", default=None)


def charge(characters: int) -> None:
    """Count characters of the call that is being served against its tenant's quota.

    Raises:
        QuotaError: The tenant has used it up.
    """
    take = _current.get()
    if take is not None:
        take(characters)


def charge_with(take: Callable[[int], None]) -> None:
    """Say how the rest of this task's call is counted; each call is a task of its own."""
    _current.set(take)
