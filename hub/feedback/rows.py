"""Post-edits as rows, and the conditions that pick them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from hub.errors import InputError
from hub.feedback import schema
from hub.feedback.records import PostEdit, Receipt, StoredEdit, text_digest
from hub.languages import LanguagePair

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def known_receipt(
    connection: Connection, tenant: str, request_id: str, digest: str
) -> Receipt | None:
    """Return the receipt of a submission that is stored, None where there is none.

    Raises:
        InputError: Other edits are stored under its id.
    """
    submissions, edits = schema.submissions, schema.post_edits
    found = connection.execute(
        select(submissions.c.id, submissions.c.digest).where(
            submissions.c.tenant == tenant, submissions.c.request_id == request_id
        )
    ).one_or_none()
    if found is None:
        return None
    if found.digest != digest:
        raise InputError(
            f"request_id {request_id!r} was used for other post-edits; give each call its own",
            field="request_id",
        )
    query = select(edits.c.id).where(edits.c.submission_id == found.id).order_by(edits.c.id)
    return Receipt(tuple(connection.execute(query).scalars()), repeated=True)


def row_of(submission: int | None, base_digest: str, edit: PostEdit) -> dict[str, Any]:
    """Return an edit as the table has it."""
    return {
        "submission_id": submission,
        "pair": str(edit.pair),
        "adapter_digest": edit.adapter_digest,
        "adapter": edit.adapter,
        "base_digest": base_digest,
        "source": edit.source,
        "source_digest": text_digest(edit.source),
        "hypothesis": edit.hypothesis,
        "correction": edit.correction,
    }


def insert(connection: Connection, row: dict[str, Any]) -> int:
    """Insert a row and return its number."""
    made = connection.execute(schema.post_edits.insert().values(row)).inserted_primary_key
    assert made is not None, "the table has a key"
    return int(made[0])


def latest_ids() -> Select[Any]:
    """Return the ids of the last correction of each source text by each tenant."""
    edits, submissions = schema.post_edits, schema.submissions
    return (
        select(func.max(edits.c.id))
        .join_from(edits, submissions)
        .group_by(submissions.c.tenant, edits.c.pair, edits.c.source_digest)
    )


def of_adapter(text: str) -> ColumnElement[bool]:
    """Return the condition that a name, "name:version", digest or "base" made an edit."""
    edits = schema.post_edits
    if text.startswith("sha256:"):
        return edits.c.adapter_digest == text
    if text == "base":
        return (edits.c.adapter_digest == "") & (edits.c.hypothesis != "")
    if ":" in text:
        return edits.c.adapter == text
    return edits.c.adapter.startswith(f"{text}:", autoescape=True)


def stored_edit(row: Row[Any]) -> StoredEdit:
    """Return a row as a record."""
    return StoredEdit(
        id=row.id,
        edit=PostEdit(
            pair=LanguagePair.parse(row.pair),
            source=row.source,
            hypothesis=row.hypothesis,
            correction=row.correction,
            adapter_digest=row.adapter_digest,
            adapter=row.adapter,
        ),
        tenant=row.tenant,
        request_id=row.request_id,
        received_at=_EPOCH + timedelta(microseconds=row.received_at),
        base_digest=row.base_digest,
        changes=row.changes,
        words=row.words,
    )


def micros(moment: datetime) -> int:
    """Return microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
