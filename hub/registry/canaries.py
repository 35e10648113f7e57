"""Canaries: which run behind which alias, how they ended, and the log of it all.

A canary leaves the alias where it is and has a second version serve a share of its requests.
Starting and ending one is a compare-and-set, each in one transaction with its entry in the log and,
for a promotion, with the move of the alias: whatever process dies, there is no move without an end
and no end without a move.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select

from hub.errors import (
    AliasMovedError,
    CanaryEndedError,
    CanaryRunningError,
    InputError,
    PairMismatchError,
    RefError,
    WrongBaseError,
)
from hub.refs import LATEST, AdapterRef, check_alias
from hub.registry.database import Database
from hub.registry.moves import Place
from hub.registry.queries import EPOCH, load_named, no_such_name, not_found
from hub.registry.records import AdapterVersion, AliasEvent, Canary, CanaryOutcome, Note
from hub.registry.schema import adapters, alias_log, aliases, canaries

MIN_FRACTION: Final = 0.001
MAX_FRACTION: Final = 0.9


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of a canary that is to start; as `Canaries.start` has it."""

    version: int
    fraction: float
    promote_after: int
    expected: int | None
    note: Note

    def row(self, place: Place) -> dict[str, Any]:
        """Return the canary's row, behind an alias that is where it is now."""
        stable, generation = place.current()
        return {
            "adapter_id": place.adapter_id, "alias": place.alias, "generation": generation,
            "stable": stable, "canary": self.version, "fraction": self.fraction,
            "promote_after": self.promote_after, "salt": secrets.token_hex(16),
            "status": "running", "reason": "", "started_at": place.at,
        }  # fmt: skip


class Canaries:
    """The canaries of a catalog."""

    def __init__(
        self, database: Database, write: Callable[[Callable[[Connection], Any]], Any],
        now: Callable[[], int],
    ) -> None:  # fmt: skip
        """Use an open catalog.

        Args:
            database: The catalog's.
            write: Runs a transaction, again where another one won.
            now: Microseconds since 1970 UTC.
        """
        self._database = database
        self._write = write
        self._now = now

    def start(
        self,
        name: str,
        alias: str,
        version: int,
        fraction: float,
        *,
        promote_after: int = 0,
        expected: int | None = None,
        note: Note | None = None,
    ) -> Canary:
        """Have a version serve a share of an alias's requests.

        Args:
            name: Adapter name.
            alias: Points at the version that it is compared with.
            version: Serves the share.
            fraction: Of the requests.
            promote_after: Requests after which the alias moves there; 0 for never.
            expected: Where the alias points now; None takes what it is.
            note: Who starts it.

        Raises:
            InputError: A number is out of range, or the alias points there already.
            RefError: The alias is not a valid one, or is `latest`.
            AdapterNotFoundError: Name, alias or version does not exist.
            PairMismatchError: It translates another pair.
            WrongBaseError: It was made for another base.
            AliasMovedError: The alias points elsewhere than expected.
            CanaryRunningError: Another canary runs behind this alias.
        """
        _check_numbers(fraction, promote_after)
        _check_canary_alias(alias)
        asked = _Asked(version, fraction, promote_after, expected, note or Note())
        return _typed(self._write(lambda connection: self._started(connection, name, alias, asked)))

    def _started(self, connection: Connection, name: str, alias: str, asked: _Asked) -> Canary:
        """Start a canary within a transaction; raises as `start`."""
        stable = _known(connection, AdapterRef(name=name, alias=alias))
        tried = _known(connection, AdapterRef(name=name, version=asked.version))
        place = self._place(connection, name, alias)
        at, generation = place.current()
        if asked.expected is not None and at != asked.expected:
            raise AliasMovedError(
                f"alias {name}@{alias} points at version {at}, it was expected to point at "
                f"version {asked.expected}; no canary was started",
                field="expected",
            )
        _check_comparable(stable, tried, alias)
        _check_alone(place, generation)
        made = connection.execute(insert(canaries).values(asked.row(place))).inserted_primary_key
        assert made is not None
        reason = asked.note.reason
        share = f"{100 * asked.fraction:g} % of the requests" + (f"; {reason}" if reason else "")
        place.log("canary_started", at, asked.version, generation, Note(asked.note.actor, share))
        return _one(connection, made[0])

    def end(self, canary_id: int, outcome: CanaryOutcome, note: Note | None = None) -> Canary:
        """End a running canary; `promoted` moves the alias to it in the same transaction.

        Raises:
            CanaryEndedError: It has ended already, or its alias was moved; nothing was changed.
        """
        told = note or Note()

        def attempt(connection: Connection) -> Canary | None:
            found = connection.execute(_query().where(canaries.c.id == canary_id)).one_or_none()
            if found is None:
                return None
            place = Place(connection, found.adapter_id, found.alias, self._now())
            row = place.running()
            if row is None or row.id != canary_id or place.current()[1] != row.generation:
                return None
            place.end(row, outcome, told)
            if outcome == "promoted":
                place.point(row.canary, told)
            return _one(connection, canary_id)

        ended: Canary | None = self._write(attempt)
        if ended is None:
            raise CanaryEndedError(
                f"canary {canary_id} does not run any more, or its alias was moved; nothing was "
                "changed, `hub canary list --all` shows how it ended"
            )
        return ended

    def behind(self, name: str, alias: str) -> Canary:
        """Return the canary that runs behind an alias.

        Raises:
            CanaryEndedError: None does.
        """
        for canary in self.running():
            if (canary.name, canary.alias) == (name, alias):
                return canary
        raise CanaryEndedError(
            f"no canary runs behind {name}@{alias}; `hub canary list --all` shows those there were"
        )

    def running(self) -> list[Canary]:
        """Return the canaries that run, by id; not those whose alias was moved meanwhile."""
        with self._database.reading() as connection:
            query = _query().add_columns(aliases.c.generation.label("now")).outerjoin(
                aliases,
                (aliases.c.adapter_id == canaries.c.adapter_id)
                & (aliases.c.alias == canaries.c.alias),
            )  # fmt: skip
            rows = connection.execute(query.where(canaries.c.status == "running")).all()
            return [_canary(row) for row in rows if row.now == row.generation]

    def all(self) -> list[Canary]:
        """Return all canaries there have been, by id."""
        with self._database.reading() as connection:
            return [_canary(row) for row in connection.execute(_query())]

    def mend(self) -> int:
        """End canaries whose alias was moved by a release that knows none; return how many."""

        def attempt(connection: Connection) -> int:
            ended = 0
            query = select(canaries).where(canaries.c.status == "running")
            for row in connection.execute(query).all():
                place = Place(connection, row.adapter_id, row.alias, self._now())
                version, generation = place.current()
                if generation != row.generation:
                    place.end(row, "superseded", Note("", f"the alias was moved to {version}"))
                    ended += 1
            return ended

        return int(self._write(attempt)) if self._stale() else 0

    def log(self, name: str = "", alias: str = "") -> list[AliasEvent]:
        """Return what happened to aliases, in order.

        Args:
            name: Of one adapter only.
            alias: Of its aliases of this name only.
        """
        query = select(alias_log, adapters.c.name).join(adapters).order_by(alias_log.c.id)
        if name:
            query = query.where(adapters.c.name == name)
        if alias:
            query = query.where(alias_log.c.alias == alias)
        with self._database.reading() as connection:
            return [_event(row) for row in connection.execute(query)]

    def _stale(self) -> bool:
        sound = {canary.id for canary in self.running()}
        return any(one.status == "running" and one.id not in sound for one in self.all())

    def _place(self, connection: Connection, name: str, alias: str) -> Place:
        query = select(adapters.c.id).where(adapters.c.name == name)
        adapter_id = connection.execute(query.with_for_update()).scalar()
        if adapter_id is None:
            raise no_such_name(connection, name)
        return Place(connection, adapter_id, alias, self._now())


def _typed(canary: Any) -> Canary:
    assert isinstance(canary, Canary)
    return canary


def _check_canary_alias(alias: str) -> None:
    if check_alias(alias) == LATEST:
        raise RefError(
            f"alias {LATEST!r} always means the newest version and has no canary; use another",
            field="alias",
        )


def _check_numbers(fraction: float, promote_after: int) -> None:
    if not MIN_FRACTION <= fraction <= MAX_FRACTION:
        raise InputError(
            f"a canary of {fraction:g} of the requests is out of range; choose "
            f"{100 * MIN_FRACTION:g} % to {100 * MAX_FRACTION:g} %",
            field="canary_fraction",
        )
    if not 0 <= promote_after < 2**31:
        raise InputError(
            f"promote_after {promote_after} is out of range; choose a number of requests, or 0 "
            "for never",
            field="promote_after",
        )


def _check_comparable(stable: AdapterVersion, tried: AdapterVersion, alias: str) -> None:
    one, other = stable.manifest, tried.manifest
    if stable.version == tried.version:
        raise InputError(
            f"{stable.name}@{alias} points at version {tried.version} already; try another version",
            field="version",
        )
    if (one.pair, one.domain) != (other.pair, other.domain):
        raise PairMismatchError(
            f"{tried.ref} translates {_purpose(tried)}, {stable.ref} {_purpose(stable)}; a canary "
            "needs the same",
            field="version",
        )
    if one.base.digest != other.base.digest:
        raise WrongBaseError(
            f"{tried.ref} was made for base {other.base.name!r}, {stable.ref} for "
            f"{one.base.name!r} ({one.base.digest}); a canary needs the same base",
            field="version",
        )


def _purpose(version: AdapterVersion) -> str:
    domain = version.manifest.domain
    return version.manifest.pair + (f" in domain {domain!r}" if domain else "")


def _check_alone(place: Place, generation: int) -> None:
    """Refuse a second canary; one whose alias was moved without its knowledge is ended first."""
    running = place.running()
    if running is None:
        return
    if running.generation != generation:
        place.end(running, "superseded", Note("", "the alias was moved"))
        return
    raise CanaryRunningError(
        f"a canary of version {running.canary} runs behind alias {place.alias!r} already; end it "
        "first with `hub canary promote` or `hub canary cancel`"
    )


def _known(connection: Connection, ref: AdapterRef) -> AdapterVersion:
    found = load_named(connection, ref)
    if found is None:
        raise not_found(connection, ref)
    return found


def _query() -> Any:
    return select(canaries, adapters.c.name).select_from(
        canaries.join(adapters, adapters.c.id == canaries.c.adapter_id)
    ).order_by(canaries.c.id)  # fmt: skip


def _one(connection: Connection, canary_id: int) -> Canary:
    return _canary(connection.execute(_query().where(canaries.c.id == canary_id)).one())


def _canary(row: Row[Any]) -> Canary:
    return Canary(
        id=row.id,
        name=row.name,
        alias=row.alias,
        generation=row.generation,
        stable=row.stable,
        canary=row.canary,
        fraction=row.fraction,
        promote_after=row.promote_after,
        salt=row.salt,
        status=row.status,
        reason=row.reason,
        started_at=EPOCH + timedelta(microseconds=row.started_at),
        ended_at=(None if row.ended_at is None else EPOCH + timedelta(microseconds=row.ended_at)),
    )


def _event(row: Row[Any]) -> AliasEvent:
    return AliasEvent(
        id=row.id,
        name=row.name,
        alias=row.alias,
        event=row.event,
        before=row.before,
        after=row.after,
        generation=row.generation,
        actor=row.actor,
        reason=row.reason,
        at=EPOCH + timedelta(microseconds=row.at),
    )
