"""What is asked of the catalog, and how an answer of rows becomes a record."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, literal, select

from hub.errors import AdapterNotFoundError, RefError
from hub.manifest import AdapterManifest
from hub.refs import AdapterRef
from hub.registry.records import AdapterVersion, AliasState
from hub.registry.schema import adapters, aliases, files, versions

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN: Final = 8
_FULL_DIGEST: Final = len("sha256:") + 64


@dataclass(frozen=True, slots=True)
class Queries:
    """The three queries that together load versions, on the same conditions."""

    by_version: Select[Any]
    by_file: Select[Any]
    by_alias: Select[Any]


@cache
def _queries_of(followed: bool) -> Queries:
    """Return the queries of a named ref, built once: building costs more than running."""
    if followed:
        return queries_for(adapters.c.name == bindparam("name"), _points(bindparam("alias")))
    return queries_for(
        adapters.c.name == bindparam("name"), versions.c.version == bindparam("version")
    )


def load_named(connection: Connection, ref: AdapterRef) -> AdapterVersion | None:
    """Return what a ref with a name means now, None if nothing."""
    wanted = {"name": ref.name} | ({"alias": ref.alias} if ref.alias else {"version": ref.version})
    found = load(connection, _queries_of(bool(ref.alias)), wanted)
    return found[0] if found else None


def points_here(alias: str) -> ColumnElement[bool]:
    """Return the condition that an alias of the same adapter points at a version."""
    return _points(literal(alias))


def _points(alias: ColumnElement[str]) -> ColumnElement[bool]:
    pointing = aliases.alias("pointing")
    return (
        select(pointing.c.alias)
        .where(
            pointing.c.adapter_id == versions.c.adapter_id,
            pointing.c.version == versions.c.version,
            pointing.c.alias == alias,
        )
        .exists()
    )


def queries_for(*conditions: ColumnElement[bool]) -> Queries:
    """Return the queries for the versions that fit all conditions."""
    joined = versions.join(adapters)
    here = and_(
        aliases.c.adapter_id == versions.c.adapter_id, aliases.c.version == versions.c.version
    )
    by_version = select(versions, adapters.c.name).select_from(joined).where(*conditions)
    by_file = select(files).select_from(joined.join(files)).where(*conditions)
    by_alias = select(versions.c.id, aliases.c.alias).select_from(joined.join(aliases, here))
    return Queries(
        by_version.order_by(adapters.c.name, versions.c.version),
        by_file.order_by(files.c.name),
        by_alias.where(*conditions).order_by(aliases.c.alias),
    )


def load(
    connection: Connection, queries: Queries, wanted: Mapping[str, object] | None = None
) -> list[AdapterVersion]:
    """Return the versions that the queries find, by name and number.

    Args:
        connection: One transaction, so that the three answers fit together.
        queries: What to ask.
        wanted: Values of the queries' parameters.
    """
    rows = connection.execute(queries.by_version, wanted).all()
    if not rows:
        return []
    parts: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for row in connection.execute(queries.by_file, wanted):
        parts[row.version_id][row.name] = row.sha256
    pointing: defaultdict[int, list[str]] = defaultdict(list)
    for version_id, alias in connection.execute(queries.by_alias, wanted):
        pointing[version_id].append(alias)
    return [_adapter_version(row, parts[row.id], pointing[row.id]) for row in rows]


def _adapter_version(
    row: Row[Any], parts: Mapping[str, str], pointing: Sequence[str]
) -> AdapterVersion:
    return AdapterVersion(
        name=row.name,
        version=row.version,
        digest=row.digest,
        manifest=AdapterManifest.from_json(row.manifest),
        bytes=row.bytes,
        created_at=_time(row.created_at),
        files=MappingProxyType(dict(parts)),
        aliases=tuple(pointing),
    )


def load_one(connection: Connection, condition: ColumnElement[bool]) -> AdapterVersion:
    """Return the one version that fits the condition."""
    (found,) = load(connection, queries_for(condition))
    return found


def load_by_digest(connection: Connection, digest: str) -> AdapterVersion:
    """Return the first published version with the digest, or the only one with the prefix."""
    exact = len(digest) == _FULL_DIGEST
    fits = versions.c.digest == digest if exact else versions.c.digest.startswith(digest)
    query = select(versions.c.digest).where(fits).distinct()
    found = connection.execute(query.order_by(versions.c.digest).limit(_SHOWN)).scalars().all()
    if not found:
        raise AdapterNotFoundError(
            f"no adapter has the digest {digest}; `hub adapters list` shows those there are",
            field="adapter",
        )
    if len(found) > 1:
        raise RefError(
            f"{digest} fits several adapters: {', '.join(found)}; give more digits",
            field="adapter",
        )
    first = select(versions.c.id).where(versions.c.digest == found[0])
    first = first.order_by(versions.c.id).limit(1)
    return load_one(connection, versions.c.id == first.scalar_subquery())


def alias_query() -> Select[Any]:
    """Return the query for all aliases with what they point at, by alias."""
    here = and_(
        aliases.c.adapter_id == versions.c.adapter_id, aliases.c.version == versions.c.version
    )
    joined = aliases.join(versions, here).join(adapters, adapters.c.id == aliases.c.adapter_id)
    return (
        select(aliases, versions.c.digest, adapters.c.name)
        .select_from(joined)
        .order_by(aliases.c.alias)
    )


def alias_state(row: Row[Any]) -> AliasState:
    """Return a row of `alias_query` as a record."""
    return AliasState(
        name=row.name,
        alias=row.alias,
        version=row.version,
        digest=row.digest,
        generation=row.generation,
        moved_at=_time(row.moved_at),
    )


def _time(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


def all_names(connection: Connection) -> list[str]:
    """Return every adapter's name, sorted."""
    return list(connection.execute(select(adapters.c.name).order_by(adapters.c.name)).scalars())


def not_found(connection: Connection, ref: AdapterRef) -> AdapterNotFoundError:
    """Say which part of a named ref is unknown, and what there is instead."""
    if ref.name not in all_names(connection):
        return no_such_name(connection, ref.name)
    of_name = adapters.c.name == ref.name
    if ref.alias:
        query = select(aliases.c.alias).select_from(aliases.join(adapters)).where(of_name)
        known = connection.execute(query.order_by(aliases.c.alias)).scalars().all()
        return AdapterNotFoundError(
            f"{ref.name} has no alias {ref.alias!r}; it has {', '.join(known)}", field="adapter"
        )
    numbers = select(versions.c.version).select_from(versions.join(adapters)).where(of_name)
    known_versions = connection.execute(numbers.order_by(versions.c.version)).scalars().all()
    return AdapterNotFoundError(
        f"{ref.name} has no version {ref.version}; it has {_ranges(known_versions)}",
        field="adapter",
    )


def no_such_name(connection: Connection, name: str) -> AdapterNotFoundError:
    """Say that no adapter has the name, and which names are near."""
    known = all_names(connection)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if not known:
        hint = "the registry is empty"
    elif near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        more = ", …" if len(known) > _SHOWN else ""
        hint = f"there is {', '.join(known[:_SHOWN])}{more}"
    return AdapterNotFoundError(f"no adapter is named {name!r}; {hint}", field="adapter")


def _ranges(numbers: Sequence[int]) -> str:
    """Spell numbers as "1-4, 6"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
