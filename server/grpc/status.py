"""HubError → the end of a call, with all its details in the trailer."""

from __future__ import annotations

from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from hub.errors import HubError
from hub.wire_errors import to_status
from server.telemetry.calls import note_error

DETAILS_KEY: Final = "grpc-status-details-bin"


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: HubError) -> NoReturn:
    """End the call with the error's code, message and google.rpc.Status."""
    note_error(error)
    status = to_status(error)
    await context.abort(
        grpc.StatusCode[error.code],
        status.message,
        trailing_metadata=((DETAILS_KEY, status.SerializeToString()),),
    )
