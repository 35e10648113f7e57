"""A failed gRPC call → the HubError that says why."""

from __future__ import annotations

import grpc
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from hub.errors import (
    DeadlineError,
    EngineError,
    HubError,
    OverloadedError,
    ServerUnreachableError,
)
from hub.splitting import message_too_large
from hub.wire_errors import from_status


def error_of_call(target: str, error: grpc.RpcError, seconds: float) -> HubError:
    """Return the error of the class that the server raised, or of the way to it.

    Args:
        target: The server's address, for messages.
        error: What the call raised.
        seconds: What the call was allowed to take.
    """
    if not isinstance(error, grpc.Call):
        return EngineError(f"the call to {target} failed: {error}")
    status = rpc_status.from_call(error)
    if status is not None:
        return from_status(status) or EngineError(f"{target} failed without a status")
    code: grpc.StatusCode = error.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineError(
            f"no reply from {target} within {seconds:g} s; allow more time or send less"
        )
    if code is grpc.StatusCode.UNAVAILABLE:
        return ServerUnreachableError(
            f"no server answers at {target}; start one with `hub serve` or name another address"
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        too_large = message_too_large(target, error.details() or "")
        return too_large or OverloadedError(
            f"{target} refused: {error.details()}; send less at once"
        )
    number, _ = code.value
    plain = Status(code=number, message=f"{target}: {error.details() or code.name}")
    return from_status(plain) or EngineError(plain.message)
