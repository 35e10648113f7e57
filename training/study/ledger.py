"""The ledger: one SQLite file that says what is finished, so that nothing finished is done again.

    pending ─claim─▶ running ─finish─▶ done | failed | stopped
    blocked: cannot be run on this machine

One process at a time runs a study: it holds a lock that the system frees with the process,
whatever ends it. What is `running` when a process takes the lock is therefore nobody's, and
becomes `pending` again; its training goes on from its run folder. A cell is `done` by the
transaction that brings its figures, or not at all.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from hub.errors import CorruptError, SettingsError, StorageFullError, UnavailableError
from training.study.cells import Cell
from training.study.ledger_tables import CELLS, META, PROBES, TABLES, WRITES, connected

State = Literal["pending", "running", "done", "failed", "stopped", "blocked"]
STATES: Final[tuple[State, ...]] = (
    "done",
    "running",
    "pending",
    "failed",
    "stopped",
    "blocked",
)
SCHEMA: Final = "1"
FILE: Final = "ledger.sqlite"


@dataclass(frozen=True)
class Entry:
    """A row: a cell, how it stands, and what came out.

    Attributes:
        wanted: Whether the study file still has it; rows of former grids are kept.
    """

    cell: Cell
    state: State
    attempts: int
    reason: str
    facts: Mapping[str, Any]
    statistics: bytes
    wanted: bool = True


@dataclass(frozen=True)
class Said:
    """What was claimed, and when.

    Attributes:
        claims: The file's section, as plain data.
        done: Cells that were done by then; 0 is before anything was known.
        at: Seconds since 1970.
    """

    claims: Mapping[str, Any]
    done: int
    at: float


class Ledger:
    """The ledger of one study folder."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        """Open the ledger in a folder, or make one.

        Args:
            folder: Where it is.
            read_only: Open one that is there, and write nothing.

        Raises:
            SettingsError: The folder cannot be written, or the ledger is of another release.
        """
        self.folder = folder
        self.path = folder / FILE
        if not read_only:
            self._make_folder()
        self._engine = connected(self.path, read_only=read_only)
        if read_only:
            self._check_schema()
        else:
            self._prepare()

    def _make_folder(self) -> None:
        folder = self.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"study folder {folder} cannot be made: {error.strerror}; choose another with "
                "--folder",
                field="folder",
            ) from None

    @classmethod
    def existing(cls, folder: Path) -> Ledger:
        """Open a ledger that must be there, to read it; its folder may be another's.

        Raises:
            SettingsError: There is none.
        """
        if not (folder / FILE).is_file():
            raise SettingsError(
                f"there is no study in {folder}; run it first, or name its folder with --folder",
                field="folder",
            )
        return cls(folder, read_only=not os.access(folder, os.W_OK))

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Be the one process that runs this study, and take up what a killed one left.

        Raises:
            SettingsError: Another process runs it.
        """
        handle = os.open(self.folder / "lock", os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SettingsError(
                    f"another process is running the study in {self.folder}; wait for it, or see "
                    "how it goes with: hub study status",
                    field="folder",
                ) from None
            with self._writing() as connection:
                taken = CELLS.update().where(CELLS.c.state == "running")
                connection.execute(taken.values(state="pending"))
            yield
        finally:
            os.close(handle)

    def register(self, cells: Sequence[Cell], scoring: str, claims: Mapping[str, Any]) -> None:
        """Enter the cells and the claims of the file as it is now; finished ones stay finished.

        Cells that the file no longer has keep their figures, but are neither run nor reported.
        Claims that are changed when cells are done are kept beside the earlier ones.

        Raises:
            SettingsError: The ledger's scores were decoded otherwise, so they cannot be compared.
        """
        with self._writing() as connection:
            self._check_scoring(connection, scoring)
            self._hear(connection, claims)
            connection.execute(CELLS.update().values(position=-1))
            connection.execute(CELLS.delete().where(CELLS.c.state.in_(("blocked", "pending"))))
            known = set(connection.execute(select(CELLS.c.name)).scalars())
            for position, cell in enumerate(cells):
                row = {"position": position, "cell": cell.to_json()}
                if cell.name in known:
                    update = CELLS.update().where(CELLS.c.name == cell.name)
                    connection.execute(update.values(**row))
                else:
                    state = "blocked" if cell.reason else "pending"
                    row |= {"name": cell.name, "state": state, "reason": cell.reason}
                    connection.execute(CELLS.insert().values(attempts=0, **row))

    def said(self) -> list[Said]:
        """Return what was claimed, first to last; empty in a ledger of an earlier release."""
        with self._reading() as connection:
            return _said(connection)

    def claim(self) -> Cell | None:
        """Take the next pending cell; None where there is none."""
        with self._writing() as connection:
            waiting = (CELLS.c.state == "pending") & (CELLS.c.position >= 0)
            query = select(CELLS.c.name, CELLS.c.cell).where(waiting)
            row = connection.execute(query.order_by(CELLS.c.position).limit(1)).one_or_none()
            if row is None:
                return None
            change = {"state": "running", "claimed_at": time.time()}
            connection.execute(
                CELLS.update()
                .where(CELLS.c.name == row.name)
                .values(attempts=CELLS.c.attempts + 1, **change)
            )
            return Cell.from_json(row.cell)

    def finish(self, name: str, facts: Mapping[str, Any], statistics: bytes) -> None:
        """Enter a cell's figures; from here on it is done."""
        self._end(name, "done", "", json.dumps(facts, sort_keys=True), statistics)

    def fail(self, name: str, reason: str, *, stopped: bool = False) -> None:
        """Enter why a cell came to nothing."""
        self._end(name, "stopped" if stopped else "failed", " ".join(reason.split()))

    def release(self, name: str) -> None:
        """Put a cell back that was not finished, through no fault of its own."""
        with self._writing() as connection:
            mine = (CELLS.c.name == name) & (CELLS.c.state == "running")
            connection.execute(CELLS.update().where(mine).values(state="pending"))

    def retry_failed(self) -> int:
        """Make failed cells pending once more; return how many."""
        with self._writing() as connection:
            failed = CELLS.update().where(CELLS.c.state == "failed")
            return int(connection.execute(failed.values(state="pending", reason="")).rowcount)

    def entries(self) -> list[Entry]:
        """Return the rows of the grid as it was registered last, in its order."""
        with self._reading() as connection:
            query = select(CELLS).where(CELLS.c.position >= 0).order_by(CELLS.c.position)
            return [_entry(row) for row in connection.execute(query)]

    def counts(self) -> dict[State, int]:
        """Return how many cells stand how."""
        with self._reading() as connection:
            query = select(CELLS.c.state, func.count()).where(CELLS.c.position >= 0)
            rows = connection.execute(query.group_by(CELLS.c.state)).all()
            found = {str(state): int(count) for state, count in rows}
            return {state: found.get(state, 0) for state in STATES}

    def probe(self, key: str) -> dict[str, float] | None:
        """Return what a probe found earlier on this machine."""
        with self._reading() as connection:
            query = select(PROBES.c.seconds).where(PROBES.c.key == key)
            text = connection.execute(query).scalar()
            return None if text is None else dict(json.loads(text))

    def keep_probe(self, key: str, seconds: Mapping[str, float]) -> None:
        """Remember what a probe found."""
        with self._writing() as connection:
            connection.execute(PROBES.delete().where(PROBES.c.key == key))
            row = {"key": key, "seconds": json.dumps(dict(seconds))}
            connection.execute(PROBES.insert().values(**row))

    def _end(
        self, name: str, state: State, reason: str, facts: str | None = None, data: bytes = b""
    ) -> None:
        values = {"state": state, "reason": reason, "facts": facts, "statistics": data}
        with self._writing() as connection:
            mine = (CELLS.c.name == name) & (CELLS.c.state == "running")
            update = CELLS.update().where(mine).values(ended_at=time.time(), **values)
            changed = connection.execute(update).rowcount
        assert changed == 1, f"cell {name} was claimed by this process"

    def _check_scoring(self, connection: Connection, scoring: str) -> None:
        query = select(META.c.value).where(META.c.key == "scoring")
        found = connection.execute(query).scalar()
        if found is None:
            connection.execute(META.insert().values(key="scoring", value=scoring))
        elif found != scoring:
            raise SettingsError(
                f"the scores in {self.path} were decoded with {found}, the file now says "
                f"{scoring}; they cannot be compared, so choose another --folder",
                field="scoring",
            )

    def _hear(self, connection: Connection, claims: Mapping[str, Any]) -> None:
        """Remember what is claimed, if it is not what was claimed last."""
        before = _said(connection)
        query = select(func.count()).where(CELLS.c.state == "done")
        done = int(connection.execute(query).scalar_one())
        if before and before[-1].claims == claims:
            return
        kept = before if done else []  # while nothing is known they may be said anew
        told = [asdict(each) for each in (*kept, Said(dict(claims), done, time.time()))]
        connection.execute(META.delete().where(META.c.key == "claims"))
        connection.execute(META.insert().values(key="claims", value=json.dumps(told)))

    def _prepare(self) -> None:
        with self._writing() as connection:
            TABLES.create_all(connection)
            if _schema(connection) is None:
                connection.execute(META.insert().values(key="schema", value=SCHEMA))
        self._check_schema()

    def _check_schema(self) -> None:
        with self._reading() as connection:
            found = _schema(connection)
        if found != SCHEMA:
            raise SettingsError(
                f"{self.path} has schema {found}, this release knows {SCHEMA}; use the release "
                "that made it, or another --folder"
            )

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._readable_errors(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._readable_errors(), self._engine.connect() as connection:
            connection.execution_options(**{WRITES: True})
            with connection.begin():
                yield connection

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
            what = f"{self.path}: {error.orig}"
            if code == sqlite3.SQLITE_FULL:
                raise StorageFullError(
                    f"{what}; free some space and run the same command again, nothing finished is "
                    "repeated"
                ) from error
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise CorruptError(
                    f"{what}; restore the ledger or choose another --folder"
                ) from error
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise UnavailableError(f"{what}; another process writes it, try again") from error
            raise SettingsError(
                f"{what}; see that the folder can be read and written, or choose another --folder",
                field="folder",
            ) from error


def _schema(connection: Connection) -> str | None:
    query = select(META.c.value).where(META.c.key == "schema")
    found: str | None = connection.execute(query).scalar()
    return found


def _said(connection: Connection) -> list[Said]:
    query = select(META.c.value).where(META.c.key == "claims")
    text = connection.execute(query).scalar()
    return [Said(**each) for each in json.loads(text)] if text else []


def _entry(row: Any) -> Entry:
    return Entry(
        cell=Cell.from_json(row.cell),
        state=row.state,
        attempts=row.attempts,
        reason=row.reason,
        facts=json.loads(row.facts) if row.facts else {},
        statistics=row.statistics or b"",
    )
