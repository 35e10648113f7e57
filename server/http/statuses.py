"""Our errors → HTTP statuses; what a reply looks like is each API's own business."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from hub.errors import (
    RETRY_DELAY,
    BodyTooLargeError,
    FeedbackOffError,
    HubError,
    MediaTypeError,
    StorageFullError,
)

_OF_CODE: Final[Mapping[str, int]] = MappingProxyType(
    {
        "INVALID_ARGUMENT": 400,
        "FAILED_PRECONDITION": 400,
        "UNAUTHENTICATED": 401,
        "PERMISSION_DENIED": 403,
        "NOT_FOUND": 404,
        "ALREADY_EXISTS": 409,
        "ABORTED": 409,
        "RESOURCE_EXHAUSTED": 429,
        "CANCELLED": 499,
        "DATA_LOSS": 500,
        "INTERNAL": 500,
        "UNKNOWN": 500,
        "UNIMPLEMENTED": 501,
        "UNAVAILABLE": 503,
        "DEADLINE_EXCEEDED": 504,
    }
)
_OF_KIND: Final[tuple[tuple[type[HubError], int], ...]] = (
    (BodyTooLargeError, 413),
    (MediaTypeError, 415),
    (StorageFullError, 507),
    (FeedbackOffError, 501),
)
_RETRY_SECONDS: Final[Mapping[int, int]] = MappingProxyType({429: 1, 503: 1})


def status_of(error: HubError) -> int:
    """Return the HTTP status of an error."""
    for kind, status in _OF_KIND:
        if isinstance(error, kind):
            return status
    return _OF_CODE[error.code]


def retry_after(error: HubError) -> int | None:
    """Return whole seconds after which a later attempt may succeed; None where none will."""
    status = status_of(error)
    if status not in _RETRY_SECONDS:
        return None
    known = error.metadata.get(RETRY_DELAY, "")
    return max(1, math.ceil(int(known) / 1000)) if known.isdecimal() else _RETRY_SECONDS[status]
