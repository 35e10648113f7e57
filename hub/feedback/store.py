"""The store of post-edits: SQLite in the registry's folder, or any database by its URL.

A submission is stored whole or not at all, and once: its id, of which each tenant has its own, is
unique. A store may be shared by several servers and by the training that reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Select,
    delete,
    func,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, OperationalError

from hub.errors import SettingsError, UnavailableError
from hub.feedback import schema
from hub.feedback.location import parsed_url
from hub.feedback.records import (
    AdapterFeedback,
    PostEdit,
    Receipt,
    StoredEdit,
    submission_digest,
)
from hub.feedback.rows import (
    insert,
    known_receipt,
    latest_ids,
    micros,
    of_adapter,
    row_of,
    stored_edit,
)
from hub.languages import LanguagePair
from hub.registry.database import WRITES, open_engine, shown_url, use_write_ahead_log
from hub.registry.faults import catalog_faults

_WHAT: Final = "store of post-edits"
_BUSY_SECONDS: Final = 10.0
_PAGE: Final = 1000
_SCHEMA_KEY: Final = "schema_version"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which post-edits to read; what is None does not narrow.

    Attributes:
        pair: Edits of this pair or of varieties of its languages.
        adapter: A name, "name:version", a whole digest, or "base".
        since: Received then or later.
    """

    pair: LanguagePair | None = None
    tenant: str | None = None
    adapter: str | None = None
    since: datetime | None = None


class FeedbackStore:
    """Post-edits at a URL; safe to share between threads."""

    def __init__(self, url: str, *, create: bool = True) -> None:
        """Take a database, and make the tables where there are none.

        Args:
            url: SQLAlchemy URL, such as postgresql+psycopg://user@host/database, or the path of a
                SQLite file.
            create: Make a store where there is none; otherwise it has no edits.

        Raises:
            SettingsError: The URL is not one, its driver is not installed, or the store is of
                another release.
            UnavailableError: The database does not answer.
            RegistryAccessError: It cannot be opened or written.
        """
        parsed = parsed_url(url)
        self.where = shown_url(parsed)
        self._engine = open_engine(parsed, _BUSY_SECONDS, what=_WHAT, field="feedback_url")
        try:
            self._there = self._prepare(create)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()

    def submit(
        self,
        tenant: str,
        request_id: str,
        base_digest: str,
        edits: Sequence[PostEdit],
        now: datetime,
    ) -> Receipt:
        """Store edits together, unless they are stored already.

        Args:
            tenant: Whose they are.
            request_id: Names the submission among the tenant's.
            base_digest: The base model of the server that takes them.
            edits: What was corrected.
            now: When.

        Raises:
            InputError: The id was used for other edits.
            StorageFullError: The disk is full; nothing was stored.
        """
        digest = submission_digest(edits)
        row = {
            "tenant": tenant, "request_id": request_id, "digest": digest,
            "received_at": micros(now),
        }  # fmt: skip
        try:
            with self._writing() as connection:
                known = known_receipt(connection, tenant, request_id, digest)
                if known is not None:
                    return known
                made = connection.execute(schema.submissions.insert().values(row))
                (number,) = made.inserted_primary_key or (None,)
                rows = [row_of(number, base_digest, edit) for edit in edits]
                ids = [insert(connection, one) for one in rows]
        except IntegrityError:  # another server stored it in between
            with self._reading() as connection:
                known = known_receipt(connection, tenant, request_id, digest)
            assert known is not None, "the id was taken"
            return known
        return Receipt(tuple(ids), repeated=False)

    def note_changes(self, number: int, changes: float, words: float) -> None:
        """Keep how far an edit is from its hypothesis."""
        table = schema.post_edits
        with self._writing() as connection:
            connection.execute(
                update(table).where(table.c.id == number).values(changes=changes, words=words)
            )

    def edits(self, wanted: Wanted | None = None, *, newest: int | None = None) -> list[StoredEdit]:
        """Return edits in the order in which they came in, at most the `newest` ones."""
        wanted = wanted or Wanted()
        if newest is None:
            return list(self.iterate(wanted))
        if not self._there:
            return []
        with self._reading() as connection:
            query = self._query(connection, wanted)
            rows = connection.execute(query.order_by(schema.post_edits.c.id.desc()).limit(newest))
            return [stored_edit(row) for row in rows][::-1]

    def iterate(self, wanted: Wanted, *, latest: bool = False) -> Iterator[StoredEdit]:
        """Yield edits in the order in which they came in, a page at a time.

        Args:
            wanted: Which.
            latest: Of several corrections of one source text by one tenant the last alone.
        """
        last = 0
        while self._there:
            with self._reading() as connection:
                query = self._query(connection, wanted)
                if latest:
                    query = query.where(schema.post_edits.c.id.in_(latest_ids()))
                page = connection.execute(
                    query.where(schema.post_edits.c.id > last)
                    .order_by(schema.post_edits.c.id)
                    .limit(_PAGE)
                ).all()
            for row in page:
                yield stored_edit(row)
            if len(page) < _PAGE:
                return
            last = page[-1].id

    def count(self, wanted: Wanted) -> int:
        """Return how many edits there are."""
        if not self._there:
            return 0
        with self._reading() as connection:
            query = self._query(connection, wanted).subquery()
            return int(connection.execute(select(func.count()).select_from(query)).scalar_one())

    def summary(self, wanted: Wanted | None = None) -> list[AdapterFeedback]:
        """Return edits and HTER by pair and adapter, the most edited first."""
        if not self._there:
            return []
        with self._reading() as connection:
            inner = self._query(connection, wanted or Wanted()).subquery()
            has_hypothesis = inner.c.hypothesis != ""
            columns = (inner.c.pair, inner.c.adapter, inner.c.adapter_digest, has_hypothesis)
            measured = inner.c.words > 0
            query = select(
                *columns,
                func.count(),
                func.count(inner.c.changes),
                func.sum(inner.c.changes).filter(measured),
                func.sum(inner.c.words).filter(measured),
            ).group_by(*columns)
            rows = connection.execute(query).all()
        found = [
            AdapterFeedback(
                pair=pair,
                adapter=adapter or ("base" if known else ""),
                adapter_digest=digest,
                edits=edits,
                measured=counted,
                hter=changes / words if words else None,
            )
            for pair, adapter, digest, known, edits, counted, changes, words in rows
        ]
        return sorted(found, key=lambda one: (-one.edits, one.pair, one.adapter))

    def remove(self, wanted: Wanted, before: datetime | None = None) -> int:
        """Remove edits, and return how many; their submissions stay known by their ids.

        Args:
            wanted: Which.
            before: Only those received earlier.
        """
        if not self._there:
            return 0
        with self._writing() as connection:
            query = self._query(connection, wanted)
            if before is not None:
                query = query.where(schema.submissions.c.received_at < micros(before))
            numbers = select(query.subquery().c.id)
            table = schema.post_edits
            return connection.execute(delete(table).where(table.c.id.in_(numbers))).rowcount

    def _query(self, connection: Connection, wanted: Wanted) -> Select[Any]:
        edits, submissions = schema.post_edits, schema.submissions
        query = select(
            edits, submissions.c.tenant, submissions.c.request_id, submissions.c.received_at
        ).join_from(edits, submissions)
        if wanted.pair is not None:
            stored = connection.execute(select(edits.c.pair).distinct()).scalars()
            fit = [one for one in stored if wanted.pair.serves(LanguagePair.parse(one))]
            query = query.where(edits.c.pair.in_(fit))
        if wanted.tenant is not None:
            query = query.where(submissions.c.tenant == wanted.tenant)
        if wanted.adapter is not None:
            query = query.where(of_adapter(wanted.adapter))
        if wanted.since is not None:
            query = query.where(submissions.c.received_at >= micros(wanted.since))
        return query

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._faults(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._faults(), self._engine.connect() as connection:
            connection.execution_options(**{WRITES: True})
            with connection.begin():
                yield connection

    @contextmanager
    def _faults(self) -> Iterator[None]:
        with catalog_faults(self.where, _WHAT):
            try:
                yield
            except OperationalError as error:
                if self._engine.dialect.name == "sqlite":
                    raise
                raise UnavailableError(
                    f"the {_WHAT} {self.where} does not answer; try again in a moment"
                ) from error

    def _prepare(self, create: bool) -> bool:
        """Look at the schema and return whether there is a store."""
        if not create and self._is_missing_file():
            return False
        with self._reading() as connection:
            found = _schema_version(connection)
        if found is None and create:
            self._create()
        elif found not in (None, str(schema.FEEDBACK_SCHEMA)):
            raise SettingsError(
                f"the {_WHAT} {self.where} has schema {found}, this release knows "
                f"{schema.FEEDBACK_SCHEMA}; use the release that made it, or a newer one",
                field="feedback_url",
            )
        return create or found is not None

    def _is_missing_file(self) -> bool:
        url = self._engine.url
        return (
            url.get_backend_name() == "sqlite"
            and bool(url.database)
            and not Path(str(url.database)).exists()
        )

    def _create(self) -> None:
        if self._engine.dialect.name == "sqlite":
            with self._faults():
                use_write_ahead_log(self._engine)
        with self._writing() as connection:
            schema.tables.create_all(connection)
            if _schema_version(connection) is None:
                row = {"key": _SCHEMA_KEY, "value": str(schema.FEEDBACK_SCHEMA)}
                connection.execute(schema.meta.insert().values(row))


def _schema_version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(schema.meta.name):
        return None
    query = select(schema.meta.c.value).where(schema.meta.c.key == _SCHEMA_KEY)
    return connection.execute(query).scalar()
