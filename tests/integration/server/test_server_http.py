"""The HTTP door: the same server as gRPC's, by other people's protocols."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from hub.keys import KeyFile
from server.access.body_room import BodyRoom
from server.application import FILE_THREADS
from server.entrance import OPEN_FILES
from server.http import documents
from server.translation.files import translate_file


@pytest.fixture(scope="module")
def front(open_house: Callable[..., Iterator[Any]]) -> Iterator[Any]:
    yield from open_house(http_port=0, max_message_bytes="64KiB")


@pytest.fixture
def http(front: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{front.application.ports.http}", timeout=60) as client:
        yield client


def test_both_doors_give_the_same_translation(front: Any, http: httpx.Client) -> None:
    front.publisher.lora("doors.lora", seed=5)
    asked = {"q": "in 3 days", "source": "en", "target": "ko"}
    plain = http.post("/translate", json=asked).json()["translatedText"]
    adapted = http.post("/translate", json=asked | {"adapter": "doors.lora"}).json()
    assert plain != adapted["translatedText"]
    for adapter, text in (("base", plain), ("doors.lora", adapted["translatedText"])):
        reply = front.client.translate(["in 3 days"], "en", "ko", adapter=adapter)
        assert reply.items[0].text == text


def test_health_is_open(http: httpx.Client) -> None:
    for path in ("/livez", "/readyz", "/health"):
        assert (http.get(path).status_code, http.get(path).json()) == (200, {"status": "ok"})


def test_every_reply_has_the_headers_of_safety(http: httpx.Client) -> None:
    for path in ("/health", "/languages", "/nothing-here", "/translate"):
        headers = http.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"host": "evil.example"}, 403),
        ({"host": "localhost:1"}, 200),
    ],
)
def test_other_sites_are_refused(http: httpx.Client, headers: dict[str, str], status: int) -> None:
    asked = {"q": "Monday", "source": "en", "target": "ko"}
    reply = http.post("/translate", data=asked, headers=headers)
    assert reply.status_code == status, reply.text
    own = {"origin": f"http://{http.base_url.host}:{http.base_url.port}"}
    assert http.post("/translate", data=asked, headers=own).status_code == 200


def test_bodies_within_limits(http: httpx.Client) -> None:
    deep = "[" * 20_000
    json_type = {"content-type": "application/json"}
    cases: list[tuple[int, dict[str, Any]]] = [
        (413, {"content": b'{"q": "' + b"x" * 70_000, "headers": json_type}),
        (413, {"content": iter([b"x" * 40_000] * 3), "headers": json_type}),
        (413, {"data": {"q": "x" * 70_000}}),
        (400, {"content": deep.encode(), "headers": json_type}),
        (400, {"content": b"\xff\xfe{", "headers": json_type}),
        (400, {"json": ["q"]}),
        (400, {"json": {"q": [1], "source": "en", "target": "ko"}}),
        (415, {"content": b"<q/>", "headers": {"content-type": "application/xml"}}),
        (400, {"content": b"--x", "headers": {"content-type": "multipart/form-data"}}),
    ]  # fmt: skip
    for status, how in cases:
        reply = http.post("/translate", **how)
        assert reply.status_code == status, (how, reply.text)
        assert set(reply.json()) == {"error"}
        assert "Traceback" not in reply.text


def test_the_room_of_bodies_is_given_back(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    take, release = BodyRoom.take, BodyRoom.release

    def noted(change: Callable[[BodyRoom, int], None]) -> Callable[[BodyRoom, int], None]:
        def changed(room: BodyRoom, size: int) -> None:
            change(room, size)
            taken.append(room.taken)

        return changed

    monkeypatch.setattr(BodyRoom, "take", noted(take))
    monkeypatch.setattr(BodyRoom, "release", noted(release))
    asked = {"q": "Monday", "source": "en", "target": "ko"}
    for body in (asked, asked | {"target": "zz"}, {"q": "x" * 70_000}):
        http.post("/translate", json=body)
    http.get("/health")  # by then the one before is over
    assert max(taken) > 40
    assert taken[-1] == 0


def test_texts_do_not_wait_for_files(front: Any, http: httpx.Client) -> None:
    asked = {"source": "en", "target": "ko"}
    done = threading.Event()
    busy = [front.application._files.submit(done.wait, 60) for _ in range(FILE_THREADS)]
    try:
        assert http.post("/translate", json=asked | {"q": "Monday"}).status_code == 200
        assert http.post("/detect", json={"q": "Monday"}).status_code == 200
        with ThreadPoolExecutor(1) as other:
            file = {"file": ("a.txt", b"Monday")}
            waits = other.submit(http.post, "/translate_file", data=asked, files=file)
            assert http.post("/translate", json=asked | {"q": "May"}).status_code == 200
            assert not waits.done()
            done.set()
            assert waits.result().status_code == 200
    finally:
        done.set()
    assert all(one.result() for one in busy)


def test_few_files_are_held_opened_at_once(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    now = 0

    async def noted(*arguments: Any) -> Any:
        nonlocal now
        now += 1
        opened.append(now)
        try:
            await asyncio.sleep(0)  # lets the others in, as far as they may
            return await translate_file(*arguments)
        finally:
            now -= 1

    monkeypatch.setattr(documents, "translate_file", noted)
    asked = {"source": "en", "target": "ko"}
    url = f"{http.base_url}/translate_file"

    def ask(number: int) -> int:
        file = {"file": ("a.txt", f"Monday {number}\n".encode() * 20)}
        return httpx.post(url, data=asked, files=file, timeout=60).status_code

    with ThreadPoolExecutor(3 * OPEN_FILES) as callers:
        assert set(callers.map(ask, range(3 * OPEN_FILES))) == {200}
    assert len(opened) == 3 * OPEN_FILES
    assert 1 < max(opened) <= OPEN_FILES


def test_a_path_that_is_not_served(http: httpx.Client) -> None:
    for reply, status in ((http.get("/<script>"), 404), (http.get("/translate"), 405)):
        assert reply.status_code == status
        assert reply.headers["content-type"] == "application/json"
        assert "<script>" not in reply.text


def test_calls_are_counted_like_those_of_grpc(front: Any, http: httpx.Client) -> None:
    labels = {"grpc_type": "unary", "grpc_service": "http.LibreTranslate", "grpc_method": "Detect"}
    before = front.metric("grpc_server_handled_total", **labels, grpc_code="OK")
    refused = front.metric("grpc_server_handled_total", **labels, grpc_code="INVALID_ARGUMENT")
    http.post("/detect", json={"q": "Montag"})
    http.post("/detect", json={})
    assert front.metric("grpc_server_handled_total", **labels, grpc_code="OK") == before + 1
    after = front.metric("grpc_server_handled_total", **labels, grpc_code="INVALID_ARGUMENT")
    assert after == refused + 1


def test_a_request_keeps_its_id(http: httpx.Client) -> None:
    assert http.get("/languages", headers={"x-request-id": "abc"}).headers["x-request-id"] == "abc"
    assert len(http.get("/languages").headers["x-request-id"]) == 16


@pytest.fixture(scope="module")
def guarded(
    open_house: Callable[..., Iterator[Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("http-guard")
    file, keys = KeyFile(), {}
    for name, scopes in (
        ("all", ["translate", "admin"]),
        ("admin", ["admin"]),
        ("small", ["translate"]),
    ):
        file, _, keys[name] = file.added(name, scopes)
    file.with_tenant("small", characters_per_minute=10).write(folder / "keys.json")
    for house in open_house(http_port=0, keys=str(folder / "keys.json")):
        with httpx.Client(base_url=f"http://{house.application.ports.http}", timeout=60) as client:
            yield client, keys


def test_keys_scopes_and_quotas(guarded: tuple[httpx.Client, dict[str, str]]) -> None:
    http, keys = guarded
    asked = {"q": "Monday", "source": "en", "target": "ko"}

    def status(**fields: str) -> int:
        return http.post("/translate", data=asked | fields).status_code

    assert status() == 403
    assert status(api_key="hub_wrong") == 403
    assert status(api_key=keys["admin"]) == 403
    assert status(api_key=keys["all"]) == 200
    bearer = {"authorization": f"Bearer {keys['all']}"}
    assert http.post("/translate", json=asked, headers=bearer).status_code == 200
    assert status(api_key=keys["small"]) == 200
    refused = http.post("/translate", data=asked | {"api_key": keys["small"]})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert http.get("/health").status_code == 200


def test_keys_are_never_logged(
    guarded: tuple[httpx.Client, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    http, keys = guarded
    with caplog.at_level("DEBUG"):
        for sent in (
            http.post(
                "/translate",
                data={"q": "a", "source": "en", "target": "ko", "api_key": keys["all"]},
            ),
            http.get("/languages", params={"api_key": keys["all"]}),
            http.get(f"/nothing/{keys['all']}"),
            http.get("/languages", params={"api_key": keys["all"] + "x"}),
        ):
            assert keys["all"] not in sent.text
    ours = [one for one in caplog.records if not one.name.startswith(("httpx", "httpcore"))]
    assert any(one.message == "request" for one in ours)
    assert not [one for one in ours if keys["all"] in json.dumps(vars(one), default=str)]
