"""Tables of the store of post-edits.

Their names have a prefix, so that the store may share a database with others. Times are whole
microseconds since 1970 UTC.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

FEEDBACK_SCHEMA: Final = 1
_NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER alone

tables: Final = MetaData()

meta: Final = Table(
    "feedback_meta",
    tables,
    Column("key", String(40), primary_key=True),
    Column("value", String(200), nullable=False),
)

submissions: Final = Table(
    "feedback_submissions",
    tables,
    Column("id", _NUMBER, primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("received_at", BigInteger, nullable=False),
    UniqueConstraint("tenant", "request_id"),
)

post_edits: Final = Table(
    "feedback_post_edits",
    tables,
    Column("id", _NUMBER, primary_key=True),
    Column("submission_id", ForeignKey("feedback_submissions.id"), nullable=False, index=True),
    Column("pair", String(80), nullable=False, index=True),
    Column("adapter_digest", String(71), nullable=False, index=True),
    Column("adapter", String(120), nullable=False),
    Column("base_digest", String(71), nullable=False),
    Column("source", Text, nullable=False),
    Column("source_digest", String(64), nullable=False),
    Column("hypothesis", Text, nullable=False),
    Column("correction", Text, nullable=False),
    Column("changes", Float),
    Column("words", Float),
)
