"""The catalog: which versions exist, what they are, where aliases point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, insert, select, update
from sqlalchemy.exc import IntegrityError

from hub.errors import AliasMovedError, RegistryBusyError
from hub.manifest import AdapterManifest
from hub.refs import LATEST, AdapterRef
from hub.registry.database import Database
from hub.registry.disk import StagedFile
from hub.registry.moves import Place
from hub.registry.queries import (
    EPOCH,
    alias_query,
    alias_state,
    all_names,
    load,
    load_by_digest,
    load_named,
    load_one,
    no_such_name,
    not_found,
    queries_for,
)
from hub.registry.records import AdapterVersion, AliasState, Note
from hub.registry.schema import adapters, aliases, files, scores, versions

T = TypeVar("T")

_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What publish asks the catalog to record; the blobs are already durable."""

    name: str
    digest: str
    manifest: AdapterManifest
    files: Mapping[str, StagedFile]


class Catalog:
    """Names, versions and aliases, changed in whole transactions only."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        """Use an open database; `clock` stamps rows for people to read."""
        self._database = database
        self._clock = clock

    def record(self, new: NewVersion, wanted_aliases: Sequence[str]) -> AdapterVersion:
        """Add a version and move its aliases, or return the equal version there is.

        A new version takes the name's next number and the alias `latest`. The
        wanted aliases end up on the returned version in the same transaction.
        """

        def attempt(connection: Connection) -> AdapterVersion:
            adapter_id, next_version = _adapter(connection, new.name)
            known = (versions.c.adapter_id == adapter_id) & (versions.c.digest == new.digest)
            version = connection.execute(select(versions.c.version).where(known)).scalar()
            moving = list(wanted_aliases)
            if version is None:
                version = next_version
                self._insert(connection, adapter_id, version, new)
                moving.append(LATEST)
            for alias in moving:
                Place(connection, adapter_id, alias, self.now()).point(
                    version, Note(reason="published")
                )
            return load_one(connection, and_(versions.c.adapter_id == adapter_id, known))

        return self.write(attempt)

    def resolve(self, ref: AdapterRef) -> AdapterVersion:
        """Return the version that a ref means now.

        Raises:
            AdapterNotFoundError: Nothing answers; the message says what exists.
            RefError: A digest prefix fits several adapters.
        """
        with self._database.reading() as connection:
            if ref.digest:
                return load_by_digest(connection, ref.digest)
            found = load_named(connection, ref)
            if found is None:
                raise not_found(connection, ref)
            return found

    def versions(self, conditions: Iterable[ColumnElement[bool]]) -> list[AdapterVersion]:
        """Return the versions that fit all conditions, by name and number."""
        with self._database.reading() as connection:
            return load(connection, queries_for(*conditions))

    def names(self) -> list[str]:
        """Return the adapters' names, sorted."""
        with self._database.reading() as connection:
            return all_names(connection)

    def aliases(self, name: str) -> dict[str, AliasState]:
        """Return the aliases of one adapter.

        Raises:
            AdapterNotFoundError: No adapter has the name.
        """
        with self._database.reading() as connection:
            found = connection.execute(alias_query().where(adapters.c.name == name)).all()
            if not found and name not in all_names(connection):
                raise no_such_name(connection, name)
            return {row.alias: alias_state(row) for row in found}

    def set_alias(
        self, name: str, alias: str, version: int, expected: int | None, note: Note
    ) -> AliasState:
        """Move an alias if it points where the caller believes.

        Raises:
            AdapterNotFoundError: The name or the version does not exist.
            AliasMovedError: The alias points elsewhere; the message says where.
        """

        def attempt(connection: Connection) -> AliasState:
            target = AdapterRef(name=name, version=version)
            if load_named(connection, target) is None:
                raise not_found(connection, target)
            query = alias_query().where(adapters.c.name == name, aliases.c.alias == alias)
            current = connection.execute(query.with_for_update()).one_or_none()
            if (current.version if current else None) != expected:
                raise _moved(name, alias, expected, current.version if current else None)
            adapter_id, _ = _adapter(connection, name)
            Place(connection, adapter_id, alias, self.now()).point(version, note)
            return alias_state(connection.execute(query).one())

        return self.write(attempt)

    def write(self, attempt: Callable[[Connection], T]) -> T:
        """Run one transaction; again, a bounded number of times, if another one won."""
        for _ in range(_ATTEMPTS):
            try:
                with self._database.writing() as connection:
                    return attempt(connection)
            except IntegrityError:
                continue
        raise RegistryBusyError(
            f"the catalog {self._database.where} is too busy: {_ATTEMPTS} attempts lost to other "
            "writers; try again in a moment"
        )

    def _insert(
        self, connection: Connection, adapter_id: int, version: int, new: NewVersion
    ) -> None:
        manifest = new.manifest
        row = {
            "adapter_id": adapter_id,
            "version": version,
            "digest": new.digest,
            "bytes": sum(file.bytes for file in new.files.values()),
            "created_at": self.now(),
            "pair": manifest.pair,
            "method": manifest.method,
            "size": manifest.size,
            "base_digest": manifest.base.digest,
            "realised_fraction": manifest.realised_fraction,
            "manifest": manifest.to_json(),
        }
        inserted = connection.execute(insert(versions).values(row)).inserted_primary_key
        assert inserted is not None
        _insert_parts(connection, inserted[0], new)
        bump = update(adapters).where(adapters.c.id == adapter_id)
        connection.execute(bump.values(next_version=version + 1))

    def now(self) -> int:
        """Return the time, in microseconds since 1970 UTC."""
        return (self._clock() - EPOCH) // timedelta(microseconds=1)


def _adapter(connection: Connection, name: str) -> tuple[int, int]:
    """Return the id and next version of a name, made if new and locked either way."""
    query = select(adapters.c.id, adapters.c.next_version).where(adapters.c.name == name)
    found = connection.execute(query.with_for_update()).one_or_none()
    if found is not None:
        return found.id, found.next_version
    row = {"name": name, "next_version": 1}
    inserted = connection.execute(insert(adapters).values(row)).inserted_primary_key
    assert inserted is not None
    return inserted[0], 1


def _insert_parts(connection: Connection, version_id: int, new: NewVersion) -> None:
    stored = [
        {"version_id": version_id, "name": name, "sha256": file.sha256, "bytes": file.bytes}
        for name, file in sorted(new.files.items())
    ]
    connection.execute(insert(files), stored)
    measured = [
        {"version_id": version_id, "position": position, **score.model_dump()}
        for position, score in enumerate(new.manifest.scores)
    ]
    if measured:
        connection.execute(insert(scores), measured)


def _moved(name: str, alias: str, expected: int | None, current: int | None) -> AliasMovedError:
    now = "does not exist" if current is None else f"points at version {current}"
    believed = "not to exist" if expected is None else f"to point at version {expected}"
    return AliasMovedError(
        f"alias {name}@{alias} {now}, it was expected {believed}; nothing was changed, look "
        "again and retry with what it is now",
        field="expected",
        metadata={"current": "" if current is None else str(current)},
    )
