"""AdapterService: what the registry holds, page by page."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from hub.call_errors import error_of_call
from hub.errors import AdapterNotFoundError, InputError, RefError
from hub.pb.adapterhub.v1 import adapter_service_pb2 as pb
from hub.pb.adapterhub.v1 import adapter_service_pb2_grpc as pb_grpc


@pytest.fixture(scope="module")
def listed(house: Any) -> list[Any]:
    return [
        house.publisher.lora("list-a", seed=31),
        house.publisher.lora("list-a", seed=32),
        house.publisher.lora("list-b", pair="en-de", seed=33),
    ]


@pytest.fixture(scope="module")
def stub(house: Any) -> Any:
    with grpc.insecure_channel(house.target) as channel:
        yield pb_grpc.AdapterServiceStub(channel)


def refs(reply: Any) -> list[str]:
    return [f"{a.name}:{a.version}" for a in reply.adapters if a.name.startswith("list-")]


def test_versions_come_by_name_and_newest_first(house: Any, listed: list[Any]) -> None:
    found = [a for a in house.client.list_adapters() if a.name.startswith("list-")]
    assert [(a.name, a.version) for a in found] == [("list-a", 2), ("list-a", 1), ("list-b", 1)]
    assert found[0].digest == listed[1].digest
    assert found[0].aliases == ("latest",)
    assert (found[2].source, found[2].target) == ("en", "de")
    assert found[2].realised_fraction == listed[2].manifest.realised_fraction
    assert found[0].created_at == listed[1].created_at


def test_pages_neither_repeat_nor_lose(stub: Any, listed: list[Any]) -> None:
    everything = [a.digest for a in stub.ListAdapters(pb.ListAdaptersRequest()).adapters]
    request, paged = pb.ListAdaptersRequest(page_size=2), []
    while True:
        reply = stub.ListAdapters(request)
        assert len(reply.adapters) <= 2
        paged += [a.digest for a in reply.adapters]
        if not reply.next_page_token:
            break
        request.page_token = reply.next_page_token
    assert paged == everything
    assert len(paged) >= 3


def test_filters(stub: Any, listed: list[Any]) -> None:
    assert refs(stub.ListAdapters(pb.ListAdaptersRequest(name="list-a"))) == [
        "list-a:2",
        "list-a:1",
    ]
    latest = pb.ListAdaptersRequest(latest_only=True)
    assert refs(stub.ListAdapters(latest)) == ["list-a:2", "list-b:1"]
    german = pb.ListAdaptersRequest(source_language_code="eng_Latn", target_language_code="de")
    assert refs(stub.ListAdapters(german)) == ["list-b:1"]
    assert refs(stub.ListAdapters(pb.ListAdaptersRequest(name="nobody"))) == []


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListAdaptersRequest(page_size=-1), "page_size"),
        (pb.ListAdaptersRequest(page_size=1001), "page_size"),
        (pb.ListAdaptersRequest(page_token="nonsense"), "page_token"),
        (pb.ListAdaptersRequest(page_token="a:" + "9" * 5000), "page_token"),
        (pb.ListAdaptersRequest(source_language_code="en"), "target_language_code"),
        (pb.ListAdaptersRequest(target_language_code="en"), "source_language_code"),
    ],
)
def test_bad_lists_name_the_field(house: Any, stub: Any, request_: Any, field: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.ListAdapters(request_)
    error = error_of_call(house.target, caught.value, 1.0)
    assert isinstance(error, InputError)
    assert error.field == field


def test_a_ref_resolves(house: Any, listed: list[Any]) -> None:
    assert house.client.get_adapter("list-a").version == 2
    assert house.client.get_adapter("list-a:1").digest == listed[0].digest
    assert house.client.get_adapter(listed[2].digest).name == "list-b"


@pytest.mark.parametrize(
    ("ref", "kind"),
    [
        ("nobody", AdapterNotFoundError),
        ("list-a:9", AdapterNotFoundError),
        ("list-a@nowhere", AdapterNotFoundError),
        ("sha256:" + "0" * 64, AdapterNotFoundError),
        ("../../etc/passwd", RefError),
        ("", InputError),
    ],
)
def test_a_ref_that_does_not(house: Any, listed: list[Any], ref: str, kind: type) -> None:
    with pytest.raises(kind):
        house.client.get_adapter(ref)
