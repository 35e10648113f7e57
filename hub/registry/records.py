"""What the registry hands out: plain, frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from hub.manifest import AdapterManifest

CanaryStatus = Literal["running", "promoted", "rolled_back", "cancelled", "superseded"]
CanaryOutcome = Literal["promoted", "rolled_back", "cancelled"]


@dataclass(frozen=True, slots=True)
class AdapterVersion:
    """An immutable, published version of an adapter.

    Attributes:
        name: Adapter name.
        version: Number within the name, from 1, in order of publication.
        digest: "sha256:" and 64 hex digits over the folder's files.
        manifest: The parsed hub.json.
        bytes: Sum of the files' sizes.
        created_at: UTC; for people only, nothing is ordered by it.
        files: File name to the sha256 of its content, in hex.
        aliases: Aliases that point here, sorted, as of the moment of reading.
    """

    name: str
    version: int
    digest: str
    manifest: AdapterManifest
    bytes: int
    created_at: datetime
    files: Mapping[str, str] = field(hash=False)
    aliases: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """Return the exact ref, "name:version"."""
        return f"{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class AliasState:
    """Where an alias points.

    Attributes:
        generation: Counts the alias's moves, from 1; never repeats.
    """

    name: str
    alias: str
    version: int
    digest: str
    generation: int
    moved_at: datetime


@dataclass(frozen=True, slots=True)
class Canary:
    """A share of an alias's requests that a second version serves.

    Attributes:
        id: Never repeats within a registry.
        generation: Of the alias when the canary began; another one means that it was moved since.
        stable: Version that the alias points at.
        canary: Version that is tried.
        fraction: Of the requests, between 0 and 1.
        promote_after: Requests that the canary has to serve before it is promoted without being
            asked; 0 for never.
        salt: Mixed into the hash that assigns requests, so that two canaries do not try the same.
        reason: Why it ended.
        ended_at: None while it runs.
    """

    id: int
    name: str
    alias: str
    generation: int
    stable: int
    canary: int
    fraction: float
    promote_after: int
    salt: str
    status: CanaryStatus
    reason: str
    started_at: datetime
    ended_at: datetime | None

    @property
    def ref(self) -> str:
        """Return what it is about, "name@alias"."""
        return f"{self.name}@{self.alias}"


@dataclass(frozen=True, slots=True)
class AliasEvent:
    """An entry of the log of moves and canaries.

    Attributes:
        id: Orders the entries; the clock does not.
        event: "moved", "canary_started", "canary_promoted", "canary_rolled_back",
            "canary_cancelled" or "canary_superseded".
        before: Version that the alias pointed at, None where it did not exist.
        after: Version that it points at now; of the start of a canary, the version that is tried.
        actor: Who did it, as far as that is known.
    """

    id: int
    name: str
    alias: str
    event: str
    before: int | None
    after: int | None
    generation: int
    actor: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Note:
    """What the log says of a change.

    Attributes:
        actor: Who makes it.
        reason: Why.
    """

    actor: str = ""
    reason: str = ""
