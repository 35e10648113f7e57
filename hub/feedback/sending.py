"""Post-edits as a client writes them onto the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hub.pb.adapterhub.v1 import feedback_service_pb2 as pb

if TYPE_CHECKING:
    from hub.feedback.records import PostEdit


def post_edits_message(edits: Sequence[PostEdit], request_id: str) -> pb.SubmitPostEditsRequest:
    """Write a request; what the server works out itself, such as the adapter's name, is left."""
    return pb.SubmitPostEditsRequest(
        post_edits=[
            pb.PostEdit(
                source_language_code=edit.pair.source,
                target_language_code=edit.pair.target,
                source_text=edit.source,
                translated_text=edit.hypothesis,
                post_edited_text=edit.correction,
                adapter_digest=edit.adapter_digest,
            )
            for edit in edits
        ],
        request_id=request_id,
    )
