"""What one connection may send: a real socket against the listening server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from hub.settings import load_settings
from server.http.connection import MAX_HEAD_BYTES
from server.http.listening import HttpServer

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
FLOOD = 8 * 2**20


async def count(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the number of bytes of the body."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    told = str(size).encode()
    headers = [(b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


def answer(pieces: Iterable[bytes], folder: Path) -> tuple[bytes, int]:
    """Return what the server says, and how many bytes could be sent."""

    async def talk() -> tuple[bytes, int]:
        settings = load_settings({"http_port": 0}, environ={}, folder=folder)
        server = HttpServer(settings, count)
        reader, writer = await asyncio.open_connection("127.0.0.1", await server.start())
        sent = 0
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
        except ConnectionError:
            pass
        try:
            said = await reader.read()
        except ConnectionError:
            said = b""
        writer.close()
        await server.stop()
        return said, sent

    return asyncio.run(talk())


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (HEAD + b"X: ", b"x" * 4096),
        (HEAD, b"X: y\r\n" * 512),
        (b"POST /", b"x" * 4096),
        (CHUNKED + b"0\r\nX: ", b"x" * 4096),
        (CHUNKED + b"5;", b"x" * 4096),
        (CHUNKED + b"0\r\n", b"X: y\r\n" * 512),
    ],
)
def test_what_comes_beside_a_body_has_an_end(tmp_path: Path, begin: bytes, piece: bytes) -> None:
    said, sent = answer([begin, *[piece] * (FLOOD // len(piece))], tmp_path)
    assert sent < FLOOD
    assert said.startswith(b"HTTP/1.1 400") or not said  # a reset may overtake the answer


def test_headers_that_are_too_large_at_once(tmp_path: Path) -> None:
    large = b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n"
    said, _ = answer([HEAD + large], tmp_path)
    assert b" 400 " in said.splitlines()[0]


@pytest.mark.parametrize(
    ("pieces", "size"),
    [
        ([HEAD + b"X: " + b"x" * 60_000 + b"\r\nContent-Length: 3\r\n\r\nabc"], 3),
        ([HEAD + b"Content-Length: 900000\r\n\r\n", *[b"x" * 9000] * 100], 900_000),
        ([CHUNKED, *[b"1\r\nx\r\n" * 1000] * 100, b"0\r\nX: y\r\n\r\n"], 100_000),
    ],
)
def test_what_is_large_by_right_is_taken(tmp_path: Path, pieces: list[bytes], size: int) -> None:
    said, _ = answer(pieces, tmp_path)
    assert said.endswith(b"\r\n\r\n" + str(size).encode())
