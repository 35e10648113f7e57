"""Every error of the tree crosses the wire and comes back as itself."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    ResourceInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status

import hub.errors
from hub.errors import (
    AdapterNotFoundError,
    EngineError,
    HubError,
    InputError,
    LanguageError,
    QueueFullError,
    ServerUnreachableError,
    WrongBaseError,
)
from hub.wire_errors import MAX_DETAIL, from_status, to_status


def tree(root: type[HubError]) -> Iterator[type[HubError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from tree(kind)


OURS = [kind for kind in tree(HubError) if kind.__module__ == hub.errors.__name__]


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_error_comes_back_as_itself(kind: type[HubError]) -> None:
    error = kind("what happened", metadata={"key": "value"})
    status = to_status(error)
    assert grpc.StatusCode[kind.code].value[0] == status.code
    back = from_status(status)
    assert type(back) is kind
    assert back.message == "what happened"
    assert back.metadata == {"key": "value"}


def details(error: HubError) -> dict[str, object]:
    kinds = (ErrorInfo, BadRequest, RetryInfo, ResourceInfo, PreconditionFailure)
    found: dict[str, object] = {}
    for detail in to_status(error).details:
        for kind in kinds:
            if detail.Is(kind.DESCRIPTOR):
                found[kind.__name__] = kind.FromString(detail.value)
    return found


def test_details_follow_the_kind_of_error() -> None:
    found = details(LanguageError("no such language", field="source_language_code"))
    assert set(found) == {"ErrorInfo", "BadRequest"}
    violation = found["BadRequest"].field_violations[0]  # type: ignore[attr-defined]
    assert (violation.field, violation.reason) == ("source_language_code", "INVALID_LANGUAGE")
    info = found["ErrorInfo"]
    assert (info.reason, info.domain) == ("INVALID_LANGUAGE", "adapterhub")  # type: ignore[attr-defined]
    assert set(details(QueueFullError("full"))) == {"ErrorInfo", "RetryInfo"}
    assert set(details(AdapterNotFoundError("none"))) == {"ErrorInfo", "ResourceInfo"}
    assert set(details(WrongBaseError("other"))) == {"ErrorInfo", "PreconditionFailure"}


def test_the_field_comes_back() -> None:
    back = from_status(to_status(InputError("bad"), field="contents[3]"))
    assert back is not None
    assert back.field == "contents[3]"


def test_a_long_message_is_shortened_to_fit_a_header() -> None:
    status = to_status(InputError("x" * 100_000, metadata={"k": "y" * 100_000}))
    assert len(status.message) == MAX_DETAIL
    assert status.ByteSize() < 8192


def test_ok_is_no_error() -> None:
    assert from_status(Status(code=0)) is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.Value("INVALID_ARGUMENT"), InputError),
        (Code.Value("UNAVAILABLE"), ServerUnreachableError),
        (Code.Value("UNKNOWN"), EngineError),
        (Code.Value("INTERNAL"), EngineError),
        (99, EngineError),
    ],
)
def test_a_status_of_another_origin_becomes_the_class_of_its_code(
    code: int, kind: type[HubError]
) -> None:
    back = from_status(Status(code=code, message="text"))
    assert type(back) is kind
    assert back.message == "text"


def test_a_reason_of_another_domain_is_not_taken_for_ours() -> None:
    status = Status(code=Code.Value("INVALID_ARGUMENT"), message="m")
    status.details.add().Pack(ErrorInfo(reason="QUEUE_FULL", domain="example.com"))
    assert type(from_status(status)) is InputError
