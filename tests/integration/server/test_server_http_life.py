"""The HTTP door from start to stop: ports, TLS, callers that leave, draining."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.errors import PortInUseError
from hub.settings import load_settings
from server.application import Application, running

LONG = " ".join(["on Thursday the fifth of October in three weeks"] * 4)


def settings_of(folder: Path, tiny_base: Any, **flags: object) -> Any:
    fixed = {
        "registry": str(folder / "registry"),
        "base": str(tiny_base.folder),
        "port": 0,
        "metrics_port": 0,
        "threads": 1,
    }
    return load_settings(fixed | flags, environ={}, folder=folder)


def test_it_is_off_unless_it_is_asked_for(house: Any) -> None:
    assert house.application.ports.http == ""


def test_a_port_that_is_taken(tmp_path: Path, tiny_base: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = settings_of(tmp_path, tiny_base, http_port=taken.getsockname()[1])
        with pytest.raises(PortInUseError, match="--http-port"), running(settings):
            pass


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(cert),
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


def test_tls_and_a_certificate_that_is_renewed(
    open_house: Callable[..., Iterator[Any]], tmp_path: Path
) -> None:
    first, second = make_certificate(tmp_path, "first"), make_certificate(tmp_path, "second")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for ours, made in ((cert, first[0]), (key, first[1])):
        shutil.copy(made, ours)
    for house in plain(open_house, http_port=0, tls_cert=str(cert), tls_key=str(key)):
        url = f"https://{house.ports.http}/health"
        assert answers(url, first[0])
        assert not answers(url, second[0])
        reply = httpx.get(url, verify=ssl.create_default_context(cafile=first[0]))
        assert "max-age" in reply.headers["strict-transport-security"]
        for ours, made in ((key, second[1]), (cert, second[0])):
            shutil.copy(made, ours)
        assert answers(url, second[0])
        assert not answers(url, first[0])


def plain(open_house: Callable[..., Iterator[Any]], **flags: object) -> Iterator[Any]:
    """A server without the client of the fixture, which does not speak TLS."""
    yield from (house.application for house in open_house(**flags))


def answers(url: str, authority: Path) -> bool:
    context = ssl.create_default_context(cafile=authority)
    try:
        return httpx.get(url, verify=context).json() == {"status": "ok"}
    except httpx.ConnectError:
        return False


@pytest.fixture
def left(open_house: Callable[..., Iterator[Any]]) -> Iterator[Any]:
    yield from open_house(http_port=0)


def test_a_caller_that_leaves_withdraws_its_request(left: Any) -> None:
    method = {"grpc_service": "http.LibreTranslate", "grpc_method": "Translate"}
    address = left.application.ports.http
    host, _, port = address.rpartition(":")
    texts = [LONG + f" {n}" for n in range(100)]
    body = json.dumps({"q": texts, "source": "en", "target": "ko"}).encode()
    with socket.create_connection((host, int(port))) as caller:
        head = f"POST /translate HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json"
        caller.sendall(f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        wait_for(lambda: left.metric("hub_requests_running") > 0)

    def ended(code: str) -> float:
        told = {"grpc_type": "unary", **method, "grpc_code": code}
        return float(left.metric("grpc_server_handled_total", **told))

    wait_for(lambda: ended("CANCELLED") == 1)
    wait_for(lambda: not left.metric("hub_requests_running"))
    assert ended("OK") == 0


def wait_for(done: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(2000):
        if done():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come to that")


def test_a_server_without_its_engine_is_not_ready(tmp_path: Path, tiny_base: Any) -> None:
    with running(settings_of(tmp_path, tiny_base, http_port=0)) as application:
        ready = f"http://{application.ports.http}/readyz"
        assert httpx.get(ready).status_code == 200
        application.core.worker.stop()
        assert httpx.get(ready).status_code == 503
        assert httpx.get(ready.replace("readyz", "livez")).status_code == 200


def test_draining_finishes_what_runs_and_refuses_what_is_new(
    tmp_path: Path, tiny_base: Any
) -> None:
    settings = settings_of(tmp_path, tiny_base, http_port=0, drain_seconds=60)
    asked = {"q": [LONG + f" {n}" for n in range(60)], "source": "en", "target": "ko"}

    async def run() -> tuple[httpx.Response, httpx.Response, httpx.Response]:
        application = Application(settings)
        async with application:
            base = f"http://{application.ports.http}"
            async with httpx.AsyncClient(base_url=base, timeout=120) as client:
                running = asyncio.create_task(client.post("/translate", json=asked))
                while not application.metrics.registry.get_sample_value("hub_requests_running"):
                    await asyncio.sleep(0)
                leaving = asyncio.create_task(application.stop(60))
                while (await client.get("/livez")).status_code == 200 and (
                    health := await client.get("/readyz")
                ).status_code == 200:
                    pass
                refused = await client.post("/translate", json=asked)
                done = await running
                await leaving
        return done, health, refused

    done, health, refused = asyncio.run(run())
    assert done.status_code == 200
    assert len(done.json()["translatedText"]) == 60
    for reply in (health, refused):
        assert reply.status_code == 503
        assert reply.headers["retry-after"] == "1"


def test_a_call_is_traced_where_its_caller_says(
    open_house: Callable[..., Iterator[Any]], tmp_path: Path
) -> None:
    trace, file = "4bf92f3577b34da6a3ce929d0e0e4736", tmp_path / "spans.jsonl"
    sent = {"q": "Monday", "source": "en", "target": "ko"}
    for house in open_house(http_port=0, tracing=f"file:{file}"):
        headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        url = f"http://{house.application.ports.http}"
        assert httpx.post(f"{url}/translate", json=sent, headers=headers).status_code == 200
        assert httpx.get(f"{url}/health").status_code == 200
    spans = [json.loads(line) for line in file.read_text().splitlines()]
    ours = [one for one in spans if one["context"]["trace_id"] == f"0x{trace}"]
    names = {one["name"] for one in ours}
    assert {"http.LibreTranslate/Translate", "item", "decode"} <= names
    assert not any("Health" in one["name"] for one in spans)
