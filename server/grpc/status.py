"""HubError → the end of a call, with all its details in the trailer."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from hub.errors import DeadlineUnreachableError, HubError, QueueFullError
from hub.wire_errors import to_status
from server.telemetry.calls import note_error

DETAILS_KEY: Final = "grpc-status-details-bin"
_KEPT: Final = 256

_Ended = tuple[str, bytes]


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: HubError) -> NoReturn:
    """End the call with the error's code, message and google.rpc.Status."""
    note_error(error)
    message, details = _ended(error)
    await context.abort(
        grpc.StatusCode[error.code], message, trailing_metadata=((DETAILS_KEY, details),)
    )


def _ended(error: HubError) -> _Ended:
    """Return message and details; those of overload, which come by the thousand, are kept."""
    kind = type(error)
    if kind is QueueFullError or kind is DeadlineUnreachableError:
        return _kept(kind, error.message, error.field, tuple(error.metadata.items()))
    return _written(error)


@lru_cache(maxsize=_KEPT)
def _kept(
    kind: type[HubError], message: str, field: str, metadata: tuple[tuple[str, str], ...]
) -> _Ended:
    return _written(kind(message, field=field, metadata=dict(metadata)))


def _written(error: HubError) -> _Ended:
    status = to_status(error)
    return status.message, status.SerializeToString()
