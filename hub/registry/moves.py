"""The one place where an alias moves: the move, its entry in the log, the end of its canary.

All three are one transaction, so that none is ever seen without the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, insert, select, update

from hub.registry.records import CanaryStatus, Note
from hub.registry.schema import alias_log, aliases, canaries


@dataclass(frozen=True, slots=True)
class Place:
    """An alias of an adapter, inside of a transaction.

    Attributes:
        at: Microseconds since 1970 UTC, for people to read.
    """

    connection: Connection
    adapter_id: int
    alias: str
    at: int

    def current(self) -> tuple[int | None, int]:
        """Return the version that it points at and its generation; None and 0 for a new one."""
        here = and_(aliases.c.adapter_id == self.adapter_id, aliases.c.alias == self.alias)
        query = select(aliases.c.version, aliases.c.generation).where(here)
        found = self.connection.execute(query.with_for_update()).one_or_none()
        return (found.version, found.generation) if found is not None else (None, 0)

    def point(self, version: int, note: Note, event: str = "moved") -> int:
        """Move the alias, log it, and end a canary behind it; return the new generation."""
        before, generation = self.current()
        generation += 1
        values = {"version": version, "generation": generation, "moved_at": self.at}
        if before is None:
            row = {"adapter_id": self.adapter_id, "alias": self.alias, **values}
            self.connection.execute(insert(aliases).values(row))
        else:
            here = and_(aliases.c.adapter_id == self.adapter_id, aliases.c.alias == self.alias)
            self.connection.execute(update(aliases).where(here).values(values))
        self.log(event, before, version, generation, note)
        running = self.running()
        if running is not None:
            self.end(running, "superseded", Note(note.actor, f"the alias was moved to {version}"))
        return generation

    def running(self) -> Row[Any] | None:
        """Return the canary that runs behind the alias."""
        query = select(canaries).where(
            canaries.c.adapter_id == self.adapter_id,
            canaries.c.alias == self.alias,
            canaries.c.status == "running",
        )
        return self.connection.execute(query.with_for_update()).one_or_none()

    def end(self, canary: Row[Any], status: CanaryStatus, note: Note) -> None:
        """Write down how a canary ended, and log it."""
        change = update(canaries).where(canaries.c.id == canary.id)
        values = {"status": status, "reason": note.reason, "ended_at": self.at}
        self.connection.execute(change.values(values))
        version, generation = self.current()
        self.log(f"canary_{status}", version, version, generation, note)

    def log(
        self, event: str, before: int | None, after: int | None, generation: int, note: Note
    ) -> None:
        """Append an entry to the log."""
        row = {
            "adapter_id": self.adapter_id, "alias": self.alias, "event": event, "before": before,
            "after": after, "generation": generation, "actor": note.actor[:200],
            "reason": note.reason, "at": self.at,
        }  # fmt: skip
        self.connection.execute(insert(alias_log).values(row))
