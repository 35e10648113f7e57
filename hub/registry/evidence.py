"""What is known of running canaries, summed over all servers of a registry.

Everything is a sum, so that servers add what they have seen since the last time, in any order, and
a server that dies loses no more than that. The sums lie in a file of their own beside the catalog.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final

from sqlalchemy import URL, insert, select, update
from sqlalchemy.exc import IntegrityError

from hub.errors import RegistryBusyError
from hub.registry.database import Database
from hub.registry.schema import evidence, evidence_tables

ARMS: Final = ("stable", "canary")
EVIDENCE_FILE: Final = "canary.sqlite3"
_ATTEMPTS: Final = 8


class CanaryEvidence:
    """Sums by canary; safe to share between threads and processes."""

    def __init__(self, url: str | URL, busy_seconds: float) -> None:
        """Open the store, made if missing.

        Raises:
            HubError: It cannot be opened.
        """
        self._database = Database(url, busy_seconds, evidence_tables)

    def close(self) -> None:
        """Give back every connection."""
        self._database.close()

    def add(self, canary_id: int, more: Mapping[str, float]) -> dict[str, float]:
        """Add to a canary's sums; return what they are then, of all servers together.

        Raises:
            RegistryBusyError: Others write all the time.
            HubError: The store cannot be written.
        """
        here = evidence.c.canary_id == canary_id
        for _ in range(_ATTEMPTS):
            try:
                with self._database.writing() as connection:
                    query = select(evidence.c.sums).where(here).with_for_update()
                    found = connection.execute(query).scalar()
                    sums: dict[str, float] = {} if found is None else json.loads(found)
                    for key, value in more.items():
                        sums[key] = sums.get(key, 0.0) + value
                    text = json.dumps(sums)
                    if found is None:
                        row = {"canary_id": canary_id, "sums": text}
                        connection.execute(insert(evidence).values(row))
                    else:
                        connection.execute(update(evidence).where(here).values(sums=text))
                    return sums
            except IntegrityError:  # another server wrote the first sums
                continue
        raise RegistryBusyError("the evidence of canaries is too busy; try again in a moment")

    def read(self, canary_id: int) -> dict[str, float]:
        """Return a canary's sums, none where there are none."""
        query = select(evidence.c.sums).where(evidence.c.canary_id == canary_id)
        with self._database.reading() as connection:
            found = connection.execute(query).scalar()
        return {} if found is None else dict(json.loads(found))


def requests_of(sums: Mapping[str, float], arm: str) -> int:
    """Return how many requests an arm has served."""
    return round(sums.get(f"n.{arm}", 0.0))


def means_of(sums: Mapping[str, float], arm: str) -> dict[str, float]:
    """Return an arm's means by signal; none before its first request."""
    number, front = sums.get(f"n.{arm}", 0.0), f"sum.{arm}."
    found = {key.removeprefix(front): value for key, value in sums.items() if key.startswith(front)}
    return {name: value / number for name, value in found.items()} if number else {}


def evidence_of(sums: Mapping[str, float]) -> float:
    """Return the evidence that a canary is worse: log10 of the mean of all that was won."""
    logs = [value for key, value in sums.items() if key.startswith("log.")]
    if not logs:
        return 0.0
    most = max(logs)
    return (most + math.log(sum(math.exp(one - most) for one in logs) / len(logs))) / math.log(10)
