"""What the page asks of a server: columns side by side, alternatives, corrections, live figures."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from hub.client import Decoding
from hub.feedback.location import feedback_url
from hub.feedback.store import FeedbackStore
from hub.keys import KeyFile

from ...support.waiting import until

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'


@pytest.fixture(scope="module")
def front(open_house: Callable[..., Iterator[Any]]) -> Iterator[Any]:
    yield from open_house(http_port=0, max_beam=8)


@pytest.fixture(scope="module")
def adapters(front: Any) -> dict[str, Any]:
    return {
        name: make(name, seed=seed)
        for name, make, seed in (
            ("page-lora", front.publisher.lora, 1),
            ("page-neck", front.publisher.bottleneck, 2),
        )
    }


@pytest.fixture
def http(front: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{front.application.ports.http}", timeout=60) as client:
        yield client


def asked(text: str, *adapters: str, **more: Any) -> dict[str, Any]:
    return {"text": text, "source": "en", "target": "ko", "adapters": adapters or ("base",), **more}


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    return [(name[7:], json.loads(data[6:])) for name, data in blocks]


def of_column(found: list[tuple[str, dict[str, Any]]], column: int) -> list[dict[str, Any]]:
    return [{"event": name, **data} for name, data in found if data.get("column") == column]


def test_the_page_and_its_files(http: httpx.Client) -> None:
    page = http.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "trusted-types 'none'" in policy
    assert "unsafe" not in policy
    with http.stream("GET", "/static/app.js", headers={"accept-encoding": "gzip"}) as packed:
        body = b"".join(packed.iter_raw())
        assert packed.headers["content-encoding"] == "gzip"
    plain = http.get("/static/app.js", headers={"accept-encoding": "identity"})
    assert gzip.decompress(body) == plain.content
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
    known = {"if-none-match": plain.headers["etag"]}
    assert http.get("/static/app.js", headers=known).status_code == 304
    assert http.get("/static/app.js", headers={"if-none-match": '"x"'}).status_code == 200
    for path in ("/static/../site.py", "/static/%2e%2e/site.py", "/static/none", "/static/"):
        reply = http.get(path)
        assert reply.status_code == 404
        assert reply.headers["content-type"] == "application/json"


def test_what_there_is(front: Any, adapters: dict[str, Any], http: httpx.Client) -> None:
    http.post("/api/translate", json=asked("Monday", "page-lora"))
    page = http.get("/api/page").json()
    found = {one["ref"]: one for one in page["adapters"]}
    lora, neck = found["page-lora:1"], found["page-neck:1"]
    assert lora["digest"] == adapters["page-lora"].digest
    assert (lora["source"], lora["target"], lora["method"]) == ("en", "ko", "lora")
    manifest = adapters["page-lora"].manifest
    assert lora["fraction"] == manifest.trainable_parameters / front.publisher.base.parameters
    assert (lora["residency"]["tier"], neck["residency"]["tier"]) == ("device", "registry")
    assert page["base"]["digest"] == front.publisher.base.digest
    assert page["messages"]["de"]["all"] > 100
    assert page["feedback"] is True
    details = http.get("/api/adapters").json()["adapters"]
    assert {one["ref"] for one in details} == set(found)
    assert details[0]["lineage"]["corpus"] == "none"


def test_columns_side_by_side(front: Any, adapters: dict[str, Any], http: httpx.Client) -> None:
    text = "Monday.\n\nin 3 days"
    columns = ("base", *adapters)
    reply = http.post("/api/translate", json=asked(text, *columns))
    assert reply.headers["content-type"].startswith("text/event-stream")
    found = events(reply.text)
    assert found[-1] == ("end", {})
    texts = []
    for number, name in enumerate(columns):
        own = of_column(found, number)
        assert [one["event"] for one in own] == ["segment", "segment", "item"]
        assert "".join(one["text"] for one in own[:-1]) == own[-1]["text"]
        assert [text[one["start"] : one["end"]] for one in own[:-1]] == ["Monday.", "in 3 days"]
        assert all(0 < one["confidence"] <= 1 for one in own)
        assert own[-1]["adapter_digest"] == (adapters[name].digest if name != "base" else "")
        reference = front.client.translate([text], "en", "ko", adapter=name).items[0]
        assert own[-1]["text"] == reference.text
        texts.append(own[-1]["text"])
    assert len(set(texts)) == 3  # the compared things do differ


def test_a_column_fails_alone_and_says_so_as_text(
    adapters: dict[str, Any], http: httpx.Client
) -> None:
    found = events(http.post("/api/translate", json=asked("Monday", "base", HOSTILE)).text)
    assert of_column(found, 0)[-1]["event"] == "item"
    (told,) = of_column(found, 1)
    assert told["event"] == "error"
    assert told["reason"]
    assert "Traceback" not in told["message"]
    found = events(http.post("/api/translate", json=asked("  ")).text)
    assert of_column(found, 0)[0]["event"] == "error"


def test_what_is_typed_comes_back_as_data(http: httpx.Client) -> None:
    reply = http.post("/api/translate", json=asked(f"5 {HOSTILE}", keep=[HOSTILE]))
    assert HOSTILE in of_column(events(reply.text), 0)[-1]["text"]
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-content-type-options"] == "nosniff"
    bad = http.post("/api/translate", json={**asked("a"), HOSTILE: 1})
    assert bad.status_code == 400
    assert bad.headers["content-type"] == "application/json"


def test_other_sites_cannot_ask(http: httpx.Client) -> None:
    assert http.post("/api/translate", data=asked("a")).status_code == 400
    origin = {"origin": "https://evil.example"}
    for path in ("/api/translate", "/api/feedback", "/api/alternatives"):
        assert http.post(path, json=asked("a"), headers=origin).status_code == 403
    assert http.get("/api/page", headers={"host": "evil.example"}).status_code == 403
    assert "access-control-allow-origin" not in http.get("/api/page").headers


def test_terms_and_spans_that_stay(http: httpx.Client) -> None:
    term = {"source": "Monday", "targets": ["X1"]}
    said = http.post(
        "/api/translate", json=asked("Monday", glossary={"terms": [term]}, keep=["Foo"])
    )
    assert "X1" in of_column(events(said.text), 0)[-1]["text"]
    kept = http.post("/api/translate", json=asked("Monday Foo-12", keep=["Foo-12"]))
    assert "Foo-12" in of_column(events(kept.text), 0)[-1]["text"]


def test_a_caller_that_leaves_is_withdrawn(front: Any, http: httpx.Client) -> None:
    labels = {"grpc_type": "unary", "grpc_service": "http.Page", "grpc_method": "Translate"}

    def cancelled() -> float:
        return front.metric("grpc_server_handled_total", **labels, grpc_code="CANCELLED")

    def decoded() -> float:
        return front.metric("hub_stage_seconds_count", stage="decode")

    before, count = cancelled(), decoded()
    text = "\n\n".join(f"{number} kilometres per hour and {number} days" for number in range(400))
    with http.stream("POST", "/api/translate", json=asked(text, "base", "base")) as reply:
        next(reply.iter_raw())
    until(lambda: cancelled() == before + 1)
    until(lambda: front.metric("hub_requests_running") + front.metric("hub_requests_waiting") == 0)
    assert 0 < decoded() - count < 600  # of 800 sentences: the others were never translated


def test_what_else_could_be_said(front: Any, http: httpx.Client) -> None:
    body = {"text": "in 3 days", "source": "en", "target": "ko", "adapter": "base"}
    found = http.post("/api/alternatives", json=body).json()["alternatives"]
    reference = front.client.translate(
        ["in 3 days"],
        "en",
        "ko",
        adapter="base",
        decoding=Decoding(beam_size=5),
        num_alternatives=4,
    ).items[0]
    expected = {reference.text, *(one.text for one in reference.alternatives)}
    assert {one["text"] for one in found} == expected
    assert len(expected) > 1
    assert sorted(found, key=lambda one: -one["confidence"]) == found


def test_a_correction_is_kept(front: Any, adapters: dict[str, Any], http: httpx.Client) -> None:
    made = of_column(events(http.post("/api/translate", json=asked("Monday", "page-lora")).text), 0)
    body = {
        "source_text": "Monday",
        "translated_text": made[-1]["text"],
        "post_edited_text": "월요일",
        "source": "en",
        "target": "ko",
        "adapter_version": made[-1]["adapter_version"],
        "adapter_digest": made[-1]["adapter_digest"],
    }
    assert http.post("/api/feedback", json=body).status_code == 200
    store = FeedbackStore(feedback_url(front.settings), create=False)
    (kept,) = store.edits(newest=1)
    store.close()
    assert (kept.edit.correction, kept.edit.adapter) == ("월요일", "page-lora:1")
    wrong = http.post("/api/feedback", json={**body, "adapter_digest": "sha256:x"})
    assert wrong.status_code == 400
    assert set(wrong.json()["error"]) == {"reason", "message"}


def test_the_live_view_shows_what_shares_a_step(
    front: Any, adapters: dict[str, Any], http: httpx.Client
) -> None:
    trail = front.application.core.worker.trail
    with http.stream("GET", "/api/live") as reply:
        lines = reply.iter_lines()
        ticks = (json.loads(line[6:]) for line in lines if line.startswith("data: "))
        assert next(ticks)["steps"] == []

        def work(adapter: str) -> None:
            front.client.translate(["in 3 days"] * 8, "en", "ko", adapter=adapter)

        load = [threading.Thread(target=work, args=(name,)) for name in ("base", *adapters)]
        for thread in load:
            thread.start()
        seen: list[dict[str, Any]] = []
        for tick in ticks:
            seen.append(tick)
            if not any(thread.is_alive() for thread in load) and tick["texts_per_second"]:
                break
        last = seen[-1]
    steps = [dict(step["rows"]) for tick in seen for step in tick["steps"]]
    assert {name for step in steps for name in step} == {"base", "page-lora:1", "page-neck:1"}
    assert max(len(step) for step in steps) >= 2  # rows of several shared a step
    assert last["tokens_per_second"] > last["texts_per_second"] > 0
    assert 0 < last["p50"] <= last["p95"]
    quality = {one["adapter"]: one for one in last["quality"]}
    assert quality["page-neck"]["texts"] >= 8
    assert 0 < quality["page-neck"]["confidence"] <= 1
    assert {one["adapter"] for one in last["memory"]} >= {"page-lora:1", "page-neck:1"}
    until(lambda: trail.since(0) == [])  # nobody watches any more


def test_a_server_that_stops_ends_the_live_view(
    front: Any, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = front.application._edge._calls
    with http.stream("GET", "/api/live") as reply:
        lines = reply.iter_lines()
        assert next(lines) == "event: tick"
        monkeypatch.setattr(calls, "refusing", True)
        assert len([line for line in lines if line.startswith("event")]) <= 1
    monkeypatch.undo()
    assert http.get("/api/page").status_code == 200


@pytest.fixture(scope="module")
def guarded(
    open_house: Callable[..., Iterator[Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, dict[str, dict[str, str]]]]:
    folder = tmp_path_factory.mktemp("page-guard")
    file, headers = KeyFile(), {}
    for name, scopes in (("all", ["translate", "admin"]), ("narrow", ["translate"])):
        file, _, key = file.added(name, scopes)
        headers[name] = {"authorization": f"Bearer {key}"}
    file = file.with_tenant("narrow", adapters=["own-*"], characters_per_minute=100)
    file.write(folder / "keys.json")
    for house in open_house(http_port=0, keys=str(folder / "keys.json"), feedback_url="off"):
        house.publisher.lora("own-lora", seed=1)
        house.publisher.lora("foreign", seed=2)
        yield house, headers


def test_with_keys_the_page_is_open_and_what_it_asks_is_not(
    guarded: tuple[Any, dict[str, dict[str, str]]],
) -> None:
    house, headers = guarded
    with httpx.Client(base_url=f"http://{house.application.ports.http}", timeout=60) as http:
        assert http.get("/").status_code == http.get("/static/app.js").status_code == 200
        for path in ("/api/page", "/api/adapters", "/api/live"):
            assert http.get(path).status_code == 401
        assert http.post("/api/translate", json=asked("a")).status_code == 401
        everything = http.get("/api/page", headers=headers["all"]).json()
        narrow = http.get("/api/page", headers=headers["narrow"]).json()
        names = [{one["name"] for one in page["adapters"]} for page in (everything, narrow)]
        assert names == [{"own-lora", "foreign"}, {"own-lora"}]
        assert everything["adapters"][0]["residency"]
        assert narrow["adapters"][0]["residency"] is None
        assert narrow["feedback"] is False
        assert http.get("/api/live", headers=headers["narrow"]).status_code == 403
        found = events(
            http.post(
                "/api/translate", json=asked("a", "own-lora", "foreign"), headers=headers["narrow"]
            ).text
        )
        assert of_column(found, 0)[-1]["event"] == "item"
        assert of_column(found, 1)[-1]["reason"] == "ADAPTER_NOT_FOUND"


def test_every_column_counts_towards_the_quota(
    guarded: tuple[Any, dict[str, dict[str, str]]],
) -> None:
    house, headers = guarded
    with httpx.Client(base_url=f"http://{house.application.ports.http}", timeout=60) as http:
        body = asked("x" * 40, "own-lora", "own-lora", "own-lora")
        refused = http.post("/api/translate", json=body, headers=headers["narrow"])
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
