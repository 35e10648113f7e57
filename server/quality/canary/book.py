"""The canaries of a server, as of the last look at the registry, and who serves a request."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from hub.errors import HubError
from hub.refs import AdapterRef
from hub.registry import AdapterVersion, Canary
from server.quality.canary.split import takes_canary

_log = logging.getLogger("adapterhub.server")


@dataclass(frozen=True, slots=True)
class Arm:
    """The part of a canary's traffic that a request belongs to.

    Attributes:
        tried: Whether the version that is tried serves it, or the one in use.
        key: What the request was assigned by.
        digest: Of the version that serves it.
    """

    canary: Canary
    tried: bool
    key: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class _Running:
    canary: Canary
    version: AdapterVersion


class CanaryBook:
    """Which canaries run; safe to share between threads."""

    def __init__(
        self,
        read: Callable[[], Sequence[Canary]],
        resolve: Callable[[str], AdapterVersion],
        is_base: Callable[[str], bool] = lambda digest: True,
    ) -> None:
        """Look for the first time.

        Args:
            read: Returns those that run.
            resolve: Ref → version.
            is_base: Whether a digest means the base that is served; others are not ours.

        Raises:
            HubError: The registry cannot be read.
        """
        self._read = read
        self._resolve = resolve
        self._is_base = is_base
        self._running: Mapping[tuple[str, str], _Running] = MappingProxyType({})
        self._refreshing = threading.Lock()  # else an older answer could replace a newer one
        self.refresh()

    def refresh(self) -> None:
        """Look again, after the registry has changed; blocks on it.

        Raises:
            HubError: The registry cannot be read; what was known stays.
        """
        with self._refreshing:
            self._running = MappingProxyType(self._looked_up())

    def _looked_up(self) -> dict[tuple[str, str], _Running]:
        found: dict[tuple[str, str], _Running] = {}
        for canary in self._read():
            try:
                version = self._resolve(f"{canary.name}:{canary.canary}")
            except HubError as error:
                _log.warning("canary %s is left out: %s", canary.ref, error.message)
                continue
            if self._is_base(version.manifest.base.digest):
                found[canary.name, canary.alias] = _Running(canary, version)
        return found

    @property
    def running(self) -> list[Canary]:
        """Return those that run here, by id."""
        found = (one.canary for one in self._running.values())
        return sorted(found, key=lambda canary: canary.id)

    def choose(
        self, ref: str, version: AdapterVersion, key: Callable[[], bytes]
    ) -> tuple[AdapterVersion, Arm | None]:
        """Return who serves a request, and as which arm; no arm where no canary runs.

        Args:
            ref: What was asked for, or what the route names.
            version: What it means without a canary.
            key: Returns what the request is assigned by.
        """
        if not self._running:
            return version, None
        running = self._running.get((version.name, AdapterRef.parse(ref).alias))
        if running is None or running.canary.stable != version.version:
            return version, None
        canary, own = running.canary, key()
        tried = takes_canary(canary.salt, own, canary.fraction)
        serves = running.version if tried else version
        return serves, Arm(canary, tried, own, serves.digest)
