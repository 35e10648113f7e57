"""Whatever is sent, the answer is a proper status: never UNKNOWN, never our internals."""

from __future__ import annotations

import random
from typing import Any

import grpc
import pytest
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from hub.client import Decoding, HubClient
from hub.errors import (
    AdapterBindingError,
    AdapterNotFoundError,
    CorruptBlobError,
    DeadlineError,
    DecodingError,
    HubError,
    InputError,
    LanguageError,
    PairMismatchError,
    RefError,
    ServerUnreachableError,
    TextError,
    WrongBaseError,
)
from hub.pb.adapterhub.v1 import translation_service_pb2 as pb
from hub.wire_errors import from_status

METHOD = "/adapterhub.v1.TranslationService/TranslateText"
SHORT = Decoding(max_output_tokens=4)


def raw(house: Any, method: str, payload: bytes) -> grpc.RpcError:
    """Send bytes as they are; return the error."""
    with grpc.insecure_channel(house.target) as channel:
        call = channel.unary_unary(
            method, request_serializer=lambda data: data, response_deserializer=lambda data: data
        )
        with pytest.raises(grpc.RpcError) as caught:
            call(payload, timeout=20)
    return caught.value


@pytest.mark.parametrize(
    ("call", "kind", "told"),
    [
        ({"contents": []}, InputError, "contents is empty"),
        ({"target": ""}, LanguageError, "target_language_code is empty"),
        ({"source": "xx"}, LanguageError, "'xx'"),
        ({"target": "klingon"}, LanguageError, "klingon"),
        ({"target": "ja"}, LanguageError, "it has: de, en, fr, ko"),
        ({"target": "en"}, LanguageError, "both 'en'"),
        ({"adapter": "nobody"}, AdapterNotFoundError, "nobody"),
        ({"adapter": "lora@nowhere"}, AdapterNotFoundError, "nowhere"),
        ({"adapter": "lora:7"}, AdapterNotFoundError, "7"),
        ({"adapter": "../../etc/passwd"}, RefError, "passwd"),
        ({"adapter": "x" * 100_000}, RefError, "xxx"),
        ({"decoding": Decoding(beam_size=0)}, DecodingError, "beam_size 0"),
        ({"decoding": Decoding(beam_size=1000)}, DecodingError, "beam_size 1000"),
        ({"decoding": Decoding(max_output_tokens=100_000)}, DecodingError, "100000"),
        ({"decoding": Decoding(length_penalty=float("nan"))}, DecodingError, "nan"),
        ({"num_alternatives": 5}, DecodingError, "num_alternatives 5"),
        ({"contents": ["a\ud800b"]}, TextError, "lone surrogate at character 1"),
    ],
)
def test_hostile_requests(house: Any, call: dict[str, Any], kind: type, told: str) -> None:
    house.publisher.lora("lora", seed=41)
    arguments = {"contents": ["a"], "source": "en", "target": "ko", "decoding": SHORT} | call
    with pytest.raises(HubError) as caught:
        house.client.translate(**arguments)
    assert type(caught.value) is kind
    assert told in caught.value.message
    assert "Traceback" not in caught.value.message


def test_an_unknown_mime_type_is_refused_not_ignored(house: Any) -> None:
    request = pb.TranslateTextRequest(
        contents=["<b>a</b>"],
        mime_type="application/xml",
        source_language_code="en",
        target_language_code="ko",
    )
    error = raw(house, METHOD, request.SerializeToString())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "application/xml" in error.details()


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xff\xff\xff",
        b"\x0a\x05ab",  # a text of five bytes, cut off
        b"\x0a\x02\xc3\x28",  # not UTF-8
        b"\x0a\x03\xed\xa0\x80",  # a surrogate in CESU-8
        b"\x0a\xff\xff\xff\xff\x0f",  # a text of four gigabytes, it says
    ],
)
@pytest.mark.parametrize("method", [METHOD, "/adapterhub.v1.AdapterService/GetAdapter"])
def test_malformed_messages(house: Any, method: str, payload: bytes) -> None:
    error = raw(house, method, payload)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not a valid message" in error.details()
    status = rpc_status.from_call(error)
    assert isinstance(status, Status)
    assert status.details


def test_random_bytes_never_make_unknown(house: Any) -> None:
    chance = random.Random(5)
    valid = pb.TranslateTextRequest(
        contents=["Monday"], source_language_code="en", target_language_code="xx"
    ).SerializeToString()
    for _ in range(150):
        payload = bytearray(valid)
        for _ in range(chance.randrange(1, 6)):
            payload[chance.randrange(len(payload))] = chance.randrange(256)
        code = raw(house, METHOD, bytes(payload)).code()
        assert code is grpc.StatusCode.INVALID_ARGUMENT


def test_malformed_messages_to_streaming_methods(house: Any) -> None:
    methods = {
        "/grpc.health.v1.Health/Watch": "unary_stream",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": "stream_stream",
    }
    with grpc.insecure_channel(house.target) as channel:
        for method, kind in methods.items():
            call = getattr(channel, kind)(method, lambda data: data, lambda data: data)
            payload = b"\x0a\x02\xc3\x28"
            with pytest.raises(grpc.RpcError) as caught:
                list(call(iter([payload]) if kind == "stream_stream" else payload, timeout=20))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_unknown_method_is_unimplemented(house: Any) -> None:
    error = raw(house, "/adapterhub.v1.TranslationService/Nothing", b"")
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_an_unknown_health_service_is_not_found(house: Any) -> None:
    with grpc.insecure_channel(house.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=20)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_the_health_of_all_services_is_listed(house: Any) -> None:
    with grpc.insecure_channel(house.target) as channel:
        found = health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest(), timeout=20)
    serving = health_pb2.HealthCheckResponse.SERVING
    assert {name: one.status for name, one in found.statuses.items()} == {
        "": serving,
        "adapterhub.v1.TranslationService": serving,
        "adapterhub.v1.AdapterService": serving,
        "adapterhub.v1.GlossaryService": serving,
        "adapterhub.v1.FeedbackService": serving,
        "google.cloud.translation.v3.TranslationService": serving,
    }


def test_a_message_over_the_limit_is_refused(house: Any) -> None:
    payload = pb.TranslateTextRequest(contents=["x" * (17 * 2**20)]).SerializeToString()
    error = raw(house, METHOD, payload)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in str(error.details())


def test_a_text_that_no_message_can_carry_fails_alone(house: Any) -> None:
    contents = ["Monday", "x" * (17 * 2**20), "euro", "Seoul"]
    reply = house.client.translate(contents, "en", "ko", decoding=SHORT)
    assert [item.error is None for item in reply.items] == [True, False, True, True]
    error = reply.items[1].error
    assert isinstance(error, TextError)
    assert f"{17 * 2**20} bytes; a message may have {16 * 2**20}" in error.message
    assert error.field == "contents[1]"
    alone = house.client.translate(contents[2:], "en", "ko", decoding=SHORT)
    assert tuple(item.text for item in reply.items[2:]) == alone.texts


def test_a_call_with_too_many_texts_says_how_many_may_come(house: Any) -> None:
    request = pb.TranslateTextRequest(
        contents=["a"] * 10_000, source_language_code="en", target_language_code="ko"
    )
    error = raw(house, METHOD, request.SerializeToString())
    found = from_status(rpc_status.from_call(error))
    assert isinstance(found, InputError)
    assert found.message.startswith("10000 texts in one request; at most 256")
    assert found.metadata["max_contents"] == "256"


def test_an_adapter_of_another_pair(house: Any) -> None:
    house.publisher.lora("german", pair="en-de", seed=42)
    with pytest.raises(PairMismatchError, match="german:1 translates en-de, not en-ko"):
        house.client.translate(["a"], "en", "ko", adapter="german", decoding=SHORT)


def test_an_adapter_of_another_base(house: Any) -> None:
    other = "sha256:" + "9" * 64
    house.publisher.bottleneck("foreign", base_digest=other, seed=43)
    with pytest.raises(WrongBaseError, match=other):
        house.client.translate(["a"], "en", "ko", adapter="foreign", decoding=SHORT)


def test_an_adapter_that_does_not_bind_is_named_by_tensor(house: Any) -> None:
    def rename(weights: dict[str, Any]) -> None:
        name = "base_model.model.model.decoder.layers.0.bottleneck_up.bias"
        weights[name.replace("layers.0", "layers.7")] = weights.pop(name)

    house.publisher.bottleneck("unbound", spoil=rename, seed=44)
    with pytest.raises(AdapterBindingError, match=r"layers\.7"):
        house.client.translate(["a", "b"], "en", "ko", adapter="unbound", decoding=SHORT)


def test_an_adapter_that_is_not_finite(house: Any) -> None:
    def poison(weights: dict[str, Any]) -> None:
        next(iter(weights.values()))[...] = float("nan")

    house.publisher.bottleneck("poisoned", spoil=poison, seed=45)
    with pytest.raises(AdapterBindingError, match="not finite"):
        house.client.translate(["a"], "en", "ko", adapter="poisoned", decoding=SHORT)
    assert house.metric("hub_adapter_load_failures_total", reason="ADAPTER_DOES_NOT_BIND") >= 1


def test_a_corrupt_blob_is_data_loss_for_its_own_requests(house: Any) -> None:
    version = house.publisher.lora("damaged", seed=46)
    blob_hash = version.files["adapter_model.safetensors"]
    blobs = [p for p in house.publisher.registry.root.rglob("*") if blob_hash[8:] in p.name]
    for blob in blobs:
        blob.chmod(0o644)
        data = bytearray(blob.read_bytes())
        data[-1] ^= 1
        blob.write_bytes(data)
    assert blobs
    with pytest.raises(CorruptBlobError):
        house.client.translate(["a"], "en", "ko", adapter="damaged", decoding=SHORT)
    assert house.client.translate(["a"], "en", "ko", decoding=SHORT).texts


def test_a_deadline_frees_the_rows(house: Any) -> None:
    long = Decoding(beam_size=8, max_output_tokens=200)
    with pytest.raises(DeadlineError):
        house.client.translate(["Monday"] * 8, "en", "ko", decoding=long, timeout=0.05)
    house.client.translate(["a"], "en", "ko", decoding=SHORT)
    assert all(one.running_requests == 0 for one in house.client.list_loaded_adapters())


def test_a_cancelled_call_frees_its_rows_and_its_pin(house: Any) -> None:
    house.publisher.lora("cancelled", seed=47)
    finished_before = house.metric("hub_request_output_tokens_count")
    with grpc.insecure_channel(house.target) as channel:
        call = channel.unary_unary(
            METHOD, pb.TranslateTextRequest.SerializeToString, pb.TranslateTextResponse.FromString
        )
        request = pb.TranslateTextRequest(
            contents=["Monday, June 29, 1991, or in 3 days, " * 6] * 64,
            source_language_code="en",
            target_language_code="ko",
            adapter="cancelled",
            decoding=pb.DecodingOptions(beam_size=8, max_output_tokens=200),
        )
        future = call.future(request)
        while not any(one.running_requests for one in house.client.list_loaded_adapters()):
            assert not future.done()
        future.cancel()
    while house.metric("hub_requests_waiting") or any(
        one.running_requests for one in house.client.list_loaded_adapters()
    ):
        pass  # each look takes a turn of the worker; the test's timeout is the limit
    assert house.metric("hub_request_output_tokens_count") - finished_before < 64


def test_no_server_at_the_address() -> None:
    with (
        HubClient("127.0.0.1:1", timeout=5) as client,
        pytest.raises(ServerUnreachableError, match=r"127\.0\.0\.1:1.*hub serve"),
    ):
        client.translate(["a"], "en", "ko")
