"""The ledger's tables, and connections on which each transaction is begun by us."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
)

BUSY_SECONDS: Final = 30.0
WRITES: Final = "study_writes"

TABLES: Final = MetaData()
META: Final = Table(
    "meta",
    TABLES,
    Column("key", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)
CELLS: Final = Table(
    "cells",
    TABLES,
    Column("name", String(90), primary_key=True),
    Column("position", Integer, nullable=False, index=True),
    Column("cell", Text, nullable=False),
    Column("state", String(10), nullable=False, index=True),
    Column("attempts", Integer, nullable=False, default=0),
    Column("reason", Text, nullable=False, default=""),
    Column("claimed_at", Float),
    Column("ended_at", Float),
    Column("facts", Text),
    Column("statistics", LargeBinary),
)
PROBES: Final = Table(
    "probes",
    TABLES,
    Column("key", String(90), primary_key=True),
    Column("seconds", Text, nullable=False),
)


def connected(path: Path, *, read_only: bool) -> Engine:
    """Return an engine for the ledger at a path.

    Args:
        path: Of the file.
        read_only: Whether it is opened without the right to write; then it must be there.
    """
    url = URL.create("sqlite", database=str(path))
    if read_only:
        url = URL.create("sqlite", database=f"file:{path}", query={"mode": "ro", "uri": "true"})
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _record: object) -> None:
    """Take transactions into our own hands; every commit reaches the disk."""
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA synchronous=FULL")
    finally:
        cursor.close()


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
