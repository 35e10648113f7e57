"""Which versions share the traffic of an alias, where the registry knows of canaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from hub.registry import AdapterVersion
from server.core import Core


class RunningCanary(Protocol):
    """A version that is tried behind an alias, and the share of requests that it serves."""

    @property
    def name(self) -> str:
        """The adapter's."""

    @property
    def alias(self) -> str:
        """Whose requests are shared."""

    @property
    def stable(self) -> int:
        """The version that the alias points at."""

    @property
    def canary(self) -> int:
        """The version that is tried."""

    @property
    def fraction(self) -> float:
        """Share of the requests that it serves."""


@runtime_checkable
class Canaries(Protocol):
    """What a registry with canaries has."""

    def running(self) -> Sequence[RunningCanary]:
        """Return those that run."""


def running_canaries(core: Core) -> Sequence[RunningCanary]:
    """Return the canaries that run; blocks on the registry. None where it knows of none."""
    found: object = getattr(core.registry, "canaries", None)
    return found.running() if isinstance(found, Canaries) else ()


def arms_of(version: AdapterVersion, canaries: Sequence[RunningCanary]) -> list[dict[str, Any]]:
    """Return the aliases whose traffic a version shares with another, and its share."""
    own = [one for one in canaries if one.name == version.name]
    tried = [
        {"alias": one.alias, "share": one.fraction, "tried": True}
        for one in own
        if one.canary == version.version
    ]
    return tried + [
        {"alias": one.alias, "share": 1 - one.fraction, "tried": False}
        for one in own
        if one.stable == version.version
    ]
