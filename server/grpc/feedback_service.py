"""FeedbackService: corrections of translations, over the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.pb.adapterhub.v1 import feedback_service_pb2 as pb
from hub.pb.adapterhub.v1 import feedback_service_pb2_grpc as grpc_pb
from server.access.identity import current_identity
from server.core import Core
from server.quality.feedback import Correction

if TYPE_CHECKING:
    import grpc.aio


@dataclass(frozen=True, slots=True)
class FeedbackServicer(grpc_pb.FeedbackServiceServicer):
    """Takes corrections.

    Attributes:
        core: Returns the application; raises UnavailableError while there is none.
    """

    core: Callable[[], Core]

    async def SubmitPostEdits(
        self,
        request: pb.SubmitPostEditsRequest,
        context: grpc.aio.ServicerContext[pb.SubmitPostEditsRequest, pb.SubmitPostEditsResponse],
    ) -> pb.SubmitPostEditsResponse:
        """Store post-edits."""
        made = await self.core().feedback.submit(
            [_correction(one) for one in request.post_edits], request.request_id, current_identity()
        )
        return pb.SubmitPostEditsResponse(
            stored=len(made.receipt.ids),
            request_id=made.request_id,
            repeated_call=made.receipt.repeated,
        )


def _correction(one: pb.PostEdit) -> Correction:
    return Correction(
        source_language=one.source_language_code,
        target_language=one.target_language_code,
        source=one.source_text,
        correction=one.post_edited_text,
        hypothesis=one.translated_text,
        adapter_digest=one.adapter_digest,
    )
