"""Tables of the catalog.

Numbers order things, never the clock. A name's versions come from its own
counter, so a number is never given twice. Times are whole microseconds since
1970 UTC, for people to read.

Tables that older catalogs lack (`canaries`, `alias_log`) are added when such a catalog is opened.
A release that does not know them may go on using it: a canary whose alias it has moved is found by
the generation that the canary was started at.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

CATALOG_SCHEMA: Final = 1

tables: Final = MetaData()

meta: Final = Table(
    "meta",
    tables,
    Column("key", String(40), primary_key=True),
    Column("value", String(200), nullable=False),
)

adapters: Final = Table(
    "adapters",
    tables,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("next_version", Integer, nullable=False),
)

versions: Final = Table(
    "versions",
    tables,
    Column("id", Integer, primary_key=True),
    Column("adapter_id", ForeignKey("adapters.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", String(71), nullable=False, index=True),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("pair", String(80), nullable=False),
    Column("method", String(200), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("base_digest", String(71), nullable=False),
    Column("realised_fraction", Float, nullable=False),
    Column("manifest", Text, nullable=False),
    UniqueConstraint("adapter_id", "version"),
    UniqueConstraint("adapter_id", "digest"),
    Index("ix_versions_pair_base", "pair", "base_digest"),
)

files: Final = Table(
    "files",
    tables,
    Column("version_id", ForeignKey("versions.id"), primary_key=True),
    Column("name", String(40), primary_key=True),
    Column("sha256", String(64), nullable=False, index=True),
    Column("bytes", BigInteger, nullable=False),
)

scores: Final = Table(
    "scores",
    tables,
    Column("version_id", ForeignKey("versions.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("metric", String(40), nullable=False),
    Column("system", String(40), nullable=False),
    Column("value", Float, nullable=False),
    Column("signature", Text, nullable=False),
    Column("items", BigInteger, nullable=False),
)

aliases: Final = Table(
    "aliases",
    tables,
    Column("adapter_id", ForeignKey("adapters.id"), primary_key=True),
    Column("alias", String(100), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("moved_at", BigInteger, nullable=False),
    ForeignKeyConstraint(["adapter_id", "version"], ["versions.adapter_id", "versions.version"]),
)

canaries: Final = Table(
    "canaries",
    tables,
    Column("id", Integer, primary_key=True),
    Column("adapter_id", ForeignKey("adapters.id"), nullable=False),
    Column("alias", String(100), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("stable", Integer, nullable=False),
    Column("canary", Integer, nullable=False),
    Column("fraction", Float, nullable=False),
    Column("promote_after", Integer, nullable=False),
    Column("salt", String(40), nullable=False),
    Column("status", String(20), nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    sqlite_autoincrement=True,
)

alias_log: Final = Table(
    "alias_log",
    tables,
    Column("id", Integer, primary_key=True),
    Column("adapter_id", ForeignKey("adapters.id"), nullable=False, index=True),
    Column("alias", String(100), nullable=False),
    Column("event", String(20), nullable=False),
    Column("before", Integer),
    Column("after", Integer),
    Column("generation", Integer, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

evidence_tables: Final = MetaData()
"""In a file of their own beside a SQLite catalog: they change every second, and whoever watches the
catalog for changes must not be woken by them."""

meta.to_metadata(evidence_tables)

evidence: Final = Table(
    "canary_evidence",
    evidence_tables,
    Column("canary_id", Integer, primary_key=True, autoincrement=False),
    Column("sums", Text, nullable=False),
)
