"""Connections to the catalog: transactions, durability, schema version.

SQLite by default: write-ahead log, synchronous=FULL (a commit that was
acknowledged survives a power loss), foreign keys, a bounded wait for locks,
and BEGIN IMMEDIATE for writers, so that two of them never deadlock half way.
Another database is a matter of its URL.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    MetaData,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from hub.errors import SettingsError
from hub.registry import schema
from hub.registry.faults import CatalogSchemaError, catalog_faults

WRITES: Final = "hub_writes"
_SCHEMA_KEY: Final = "schema_version"
_SECRET_PARAMETER: Final = re.compile("pass|pwd|secret|token|key", re.IGNORECASE)


def sqlite_url(path: Path) -> URL:
    """Return the catalog URL of a SQLite file; any character may be in its path."""
    return URL.create("sqlite", database=str(path))


class Database:
    """A catalog's database at its URL; safe to share between threads."""

    def __init__(
        self, url: str | URL, busy_seconds: float, tables: MetaData = schema.tables
    ) -> None:
        """Create the schema where there is none, and tables that an older release did not know.

        Args:
            url: SQLAlchemy URL.
            busy_seconds: How long to wait for another process's transaction.
            tables: What it holds, `meta` among it.

        Raises:
            SettingsError: The URL is not one, or its driver is not installed.
            CatalogSchemaError: The catalog was made by a newer release.
            RegistryAccessError: It cannot be opened or written.
            CorruptError: It is damaged.
        """
        self._engine = open_engine(url, busy_seconds)
        self.where = shown_url(self._engine.url)
        self._tables = tables
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend a connection that sees one consistent state."""
        with catalog_faults(self.where), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Lend a connection whose changes are durable at the end, or undone together."""
        with catalog_faults(self.where), self._engine.connect() as connection:
            connection.execution_options(**{WRITES: True})
            with connection.begin():
                yield connection

    def changes(self) -> CatalogChanges:
        """Return a way to learn of changes, on a connection of its own; close it after use."""
        return CatalogChanges(self._engine, self.where)

    def problems(self, *, quick: bool = False) -> list[str]:
        """Return what the database's own checks complain of; [] where it has none.

        Args:
            quick: Leave out whether indexes and tables agree, which takes the longest.
        """
        if self._engine.dialect.name != "sqlite":
            return []
        check = "PRAGMA quick_check" if quick else "PRAGMA integrity_check"
        with self.reading() as connection:
            lines = connection.exec_driver_sql(check).scalars().all()
            orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        found = [str(line) for line in lines if line != "ok"]
        return found + [f"row {row[1]} of {row[0]} refers to a missing {row[2]}" for row in orphans]

    def _prepare(self) -> None:
        with self.reading() as connection:
            there = set(inspect(connection).get_table_names())
            found = _schema_version(connection) if schema.meta.name in there else None
        if found is None:
            self._create()
        elif found != schema.CATALOG_SCHEMA:
            raise CatalogSchemaError(
                f"the catalog {self.where} has schema {found}, this release knows "
                f"{schema.CATALOG_SCHEMA}; use the release that made it, or a newer one"
            )
        elif not there.issuperset(self._tables.tables):
            with self.writing() as connection:
                self._tables.create_all(connection)

    def _create(self) -> None:
        if self._engine.dialect.name == "sqlite":
            with catalog_faults(self.where):
                use_write_ahead_log(self._engine)
        with self.writing() as connection:
            self._tables.create_all(connection)
            if _schema_version(connection) is None:
                row = {"key": _SCHEMA_KEY, "value": str(schema.CATALOG_SCHEMA)}
                connection.execute(schema.meta.insert().values(row))


class CatalogChanges:
    """Tells whether anybody has changed the catalog since the last look; for one thread."""

    def __init__(self, engine: Engine, where: str) -> None:
        """Take a connection and look for the first time."""
        self._where = where
        with catalog_faults(where):
            self._connection = engine.connect()
            try:
                self._mark = self._look()
            except BaseException:
                self._connection.close()
                raise

    def moved(self) -> bool:
        """Return whether something was committed since the last call, by any process.

        Raises:
            HubError: The catalog cannot be read now.
        """
        with catalog_faults(self._where):
            mark = self._look()
        before, self._mark = self._mark, mark
        return mark != before

    def close(self) -> None:
        """Give the connection back."""
        with suppress(DBAPIError):
            self._connection.close()

    def _look(self) -> tuple[int, ...]:
        """Return a mark that differs after every commit.

        SQLite counts the commits of all other connections to a file, and this one makes none.
        Elsewhere versions, the moves of aliases and the log's entries are counted, which only ever
        grow.
        """
        connection = self._connection
        try:
            if connection.dialect.name == "sqlite":
                return (int(connection.exec_driver_sql("PRAGMA data_version").scalar_one()),)
            published = select(func.count()).select_from(schema.versions).scalar_subquery()
            moved = select(func.sum(schema.aliases.c.generation)).scalar_subquery()
            logged = select(func.coalesce(func.max(schema.alias_log.c.id), 0)).scalar_subquery()
            row = connection.execute(select(published, func.coalesce(moved, 0), logged)).one()
            return int(row[0]), int(row[1]), int(row[2])
        finally:
            connection.rollback()  # else the next look would see the state of this one


def use_write_ahead_log(engine: Engine) -> None:
    """Switch a SQLite file over, once, outside of any transaction; the file remembers.

    Raises:
        DBAPIError: SQLite refused.
    """
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        try:
            driver.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.Error as error:
            raise DBAPIError("PRAGMA journal_mode=WAL", None, error) from error


def shown_url(url: URL) -> str:
    """Return a URL for messages: of SQLite's the path as the user wrote it, not percent-encoded."""
    if url.get_backend_name() == "sqlite" and url.database:
        return f"sqlite:///{url.database}"
    hidden = {name: "***" for name in url.query if _SECRET_PARAMETER.search(name)}
    return url.set(query={**url.query, **hidden}).render_as_string(hide_password=True)


def _schema_version(connection: Connection) -> int | None:
    query = select(schema.meta.c.value).where(schema.meta.c.key == _SCHEMA_KEY)
    value = connection.execute(query).scalar()
    return None if value is None else int(value)


def open_engine(
    url: str | URL, busy_seconds: float, *, what: str = "catalog", field: str = "catalog_url"
) -> Engine:
    """Return connections to a database; nothing is connected yet.

    Writers are told by the execution option `WRITES`; of SQLite they take the lock at once.

    Args:
        url: SQLAlchemy URL.
        busy_seconds: How long to wait for another process's transaction.
        what: What the database is, for messages.
        field: The setting with its URL.

    Raises:
        SettingsError: The URL is not one, or its driver is not installed.
    """
    try:
        is_sqlite = make_url(url).get_backend_name() == "sqlite"
        arguments: dict[str, Any] = {"timeout": busy_seconds} if is_sqlite else {}
        engine = create_engine(url, connect_args=arguments)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise SettingsError(
            f"the {what} URL cannot be used: {error}; use one such as "
            "postgresql+psycopg://user@host/database and install its driver",
            field=field,
        ) from None
    if is_sqlite:
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _on_sqlite_connect(connection: Any, _record: object) -> None:
    """Take transactions into our own hands and set what is per connection."""
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=FULL")
    finally:
        cursor.close()


def _on_sqlite_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
