"""Who calls, as far as the server knows."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from hub.keys import SCOPES
from server.access.permits import EVERYTHING, Permit


@dataclass(frozen=True, slots=True)
class Limits:
    """What a tenant may ask for in a minute; None for no limit."""

    requests: float | None = None
    characters: float | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whose credentials were checked.

    Attributes:
        tenant: Whom it belongs to; "" where nobody is asked.
        scopes: What it may do.
        permit: Which adapters it may use.
        limits: How much.
    """

    tenant: str
    scopes: frozenset[str]
    permit: Permit = EVERYTHING
    limits: Limits = Limits()


ANYONE: Final = Identity("", frozenset(SCOPES))
"""The caller of a server without authentication."""

_current: ContextVar[Identity] = ContextVar("identity", default=ANYONE)


def current_identity() -> Identity:
    """Return who makes the call that is being served."""
    return _current.get()


def act_for(identity: Identity) -> None:
    """Serve the rest of this task's call for a caller; each call is a task of its own."""
    _current.set(identity)
