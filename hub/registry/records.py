"""What the registry hands out: plain, frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from hub.manifest import AdapterManifest


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
