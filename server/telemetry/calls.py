"""What is known of the call that is being served, collected on its way for the access log.

A door opens a record for each call (`AccessLog.call`); whoever learns something notes it, without
passing the record along. Where no call is being served, as in tests of a single room, notes go
nowhere.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from hub.errors import HubError
from server.messages import TranslateCommand, TranslateResult

REQUEST_ID: Final = "x-request-id"
TRACEPARENT: Final = "traceparent"

_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(slots=True)
class CallRecord:
    """One call.

    Attributes:
        method: "Service/Method" of gRPC, or method and path of HTTP.
        request_id: The caller's own, else one that was made up.
        traceparent: As the caller sent it (W3C Trace Context), "" where it did not.
        code: Name of the gRPC status that it ended with.
        error: Why it failed, as far as it was one of ours.
        tenant: Who asks, "" where that is not known.
    """

    method: str
    request_id: str = field(default_factory=lambda: secrets.token_hex(8))
    traceparent: str = ""
    code: str = "OK"
    error: HubError | None = None
    tenant: str = ""
    command: TranslateCommand | None = None
    result: TranslateResult | None = None

    @classmethod
    def of(cls, method: str, metadata: Mapping[str, str]) -> CallRecord:
        """Begin a record with what a caller's headers say of the call; bad ids are left out.

        Args:
            method: As above.
            metadata: Headers by lower-case name. Nothing else of them is kept, no key above all.
        """
        record = cls(method)
        if _REQUEST_ID.fullmatch(metadata.get(REQUEST_ID, "")):
            record.request_id = metadata[REQUEST_ID]
        if _TRACEPARENT.fullmatch(metadata.get(TRACEPARENT, "")):
            record.traceparent = metadata[TRACEPARENT]
        return record


_current: ContextVar[CallRecord | None] = ContextVar("call", default=None)


def current_call() -> CallRecord | None:
    """Return the record of the call that is being served, None where there is none."""
    return _current.get()


@contextmanager
def serving(record: CallRecord) -> Iterator[None]:
    """Make a record the current one within the block, for the task that serves the call."""
    token = _current.set(record)
    try:
        yield
    finally:
        _current.reset(token)


def note_tenant(tenant: str) -> None:
    """Note who asks."""
    if (record := current_call()) is not None:
        record.tenant = tenant


def note_command(command: TranslateCommand) -> None:
    """Note what is to be translated."""
    if (record := current_call()) is not None:
        record.command = command


def note_result(result: TranslateResult) -> None:
    """Note what became of it."""
    if (record := current_call()) is not None:
        record.result = result


def note_error(error: HubError) -> None:
    """Note why the call fails."""
    if (record := current_call()) is not None:
        record.code, record.error = error.code, error
