"""HubError ↔ google.rpc.Status: the one place that knows both.

An error crosses the wire as its code and message plus details: ErrorInfo always (reason, domain and
metadata), BadRequest when a field is at fault, RetryInfo when a later attempt may succeed (after
what the metadata says, else a default), QuotaFailure when a quota is used up,
ResourceInfo when something was not found, PreconditionFailure when it must not be used here. The
way back needs only the code and the ErrorInfo: `reason` names the class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc.code_pb2 import OK, Code
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    QuotaFailure,
    ResourceInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status

from hub.errors import (
    RETRY_DELAY,
    AliasMovedError,
    CorruptError,
    CredentialsError,
    DeadlineError,
    EngineError,
    HubError,
    IncompatibleAdapterError,
    InputError,
    NotFoundError,
    OverloadedError,
    QuotaError,
    RegistryAccessError,
    RequestCancelledError,
    ServerUnreachableError,
    UnavailableError,
    VersionExistsError,
)

Detail = TypeVar("Detail", bound=Message)

DOMAIN: Final = "adapterhub"
MAX_DETAIL: Final = 1000
"""Characters of a message that travel; header lists have a limit of their own (8 KiB)."""

_RETRY_MILLISECONDS: Final[Mapping[str, int]] = MappingProxyType(
    {"RESOURCE_EXHAUSTED": 500, "UNAVAILABLE": 1000}
)

_CLASS_OF_CODE: Final[Mapping[str, type[HubError]]] = MappingProxyType(
    {
        "INVALID_ARGUMENT": InputError,
        "OUT_OF_RANGE": InputError,
        "NOT_FOUND": NotFoundError,
        "FAILED_PRECONDITION": IncompatibleAdapterError,
        "ALREADY_EXISTS": VersionExistsError,
        "ABORTED": AliasMovedError,
        "DATA_LOSS": CorruptError,
        "RESOURCE_EXHAUSTED": OverloadedError,
        "PERMISSION_DENIED": RegistryAccessError,
        "UNAUTHENTICATED": CredentialsError,
        "DEADLINE_EXCEEDED": DeadlineError,
        "CANCELLED": RequestCancelledError,
        "UNAVAILABLE": ServerUnreachableError,
        "UNIMPLEMENTED": UnavailableError,
    }
)


def to_status(error: HubError, *, field: str = "") -> Status:
    """Describe an error for the wire.

    Args:
        error: What went wrong.
        field: The request field at fault; the error's own field when empty.
    """
    status = Status(code=Code.Value(error.code), message=_short(error.message))
    for detail in _details(error, field or error.field):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _details(error: HubError, field: str) -> Iterator[Message]:
    metadata = {key: _short(value) for key, value in error.metadata.items()}
    yield ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    text = _short(error.message)
    if isinstance(error, InputError):
        violation = BadRequest.FieldViolation(field=field, description=text, reason=error.reason)
        yield BadRequest(field_violations=[violation])
    elif isinstance(error, NotFoundError):
        yield ResourceInfo(
            resource_type=f"{DOMAIN}/{error.reason.lower()}",
            resource_name=error.metadata.get("ref", ""),
            description=text,
        )
    elif error.code == "FAILED_PRECONDITION":
        failure = PreconditionFailure.Violation(type=error.reason, subject=field, description=text)
        yield PreconditionFailure(violations=[failure])
    elif error.code in _RETRY_MILLISECONDS:
        retry = RetryInfo()
        known = error.metadata.get(RETRY_DELAY, "")
        delay = int(known) if known.isdecimal() else _RETRY_MILLISECONDS[error.code]
        retry.retry_delay.FromMilliseconds(delay)
        yield retry
    if isinstance(error, QuotaError):
        subject = error.metadata.get("tenant", "")
        yield QuotaFailure(violations=[QuotaFailure.Violation(subject=subject, description=text)])


def from_status(status: Status) -> HubError | None:
    """Rebuild the error that a status describes; None when the status is OK.

    A status of another origin becomes the class that stands for its code, with its own message.
    """
    if status.code == OK:
        return None
    code = _code_name(status.code)
    info = _first(status, ErrorInfo())
    known = info is not None and info.domain == DOMAIN
    reason, metadata = (info.reason, dict(info.metadata)) if info and known else ("", {})
    kind = _classes().get(reason) or _CLASS_OF_CODE.get(code, EngineError)
    return kind(status.message or code, field=_field(status), metadata=metadata)


def _code_name(code: int) -> str:
    return Code.Name(code) if code in Code.values() else "UNKNOWN"


def _field(status: Status) -> str:
    request = _first(status, BadRequest())
    if request is None or not request.field_violations:
        return ""
    return str(request.field_violations[0].field)


def _first(status: Status, into: Detail) -> Detail | None:
    return into if any(detail.Unpack(into) for detail in status.details) else None


def _classes() -> dict[str, type[HubError]]:
    return {kind.reason: kind for kind in _tree(HubError)}


def _tree(root: type[HubError]) -> Iterator[type[HubError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _tree(kind)


def _short(text: str) -> str:
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"
