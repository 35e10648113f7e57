"""Callers of a server by its doors, as a process: `python -m server.bench.door_callers`.

One line of JSON on standard input says what is called, one on standard output how long it took. The
HTTP callers write prepared bytes to a socket and read the reply to its length, as the gRPC callers
send prepared messages: a client library would be measured otherwise.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import grpc.aio

from hub.errors import EngineError
from hub.pb.adapterhub.v1 import translation_service_pb2 as pb
from server.bench.load import CALLERS_PER_CHANNEL, TRANSLATE

DOORS: Final = ("grpc", "deepl", "libretranslate")
DETECT: Final = ("grpc detect", "libretranslate detect")
"""Calls that cost little behind the doors, so that what is told is the doors' own."""
_DETECT_METHOD: Final = "/adapterhub.v1.TranslationService/DetectLanguage"
_LENGTH: Final = b"content-length:"
_WARM: Final = 30
"""Calls by each door that do not count."""

Call = Callable[[int], Awaitable[None]]
"""Translates the n-th text."""


@dataclass(frozen=True, slots=True)
class DoorLoad:
    """What is called.

    Attributes:
        grpc: Address of the gRPC door, and `http` that of the other.
        pid: Of the server, whose processor time is told: on a busy machine it says more than
            the time on the clock.
        pairs: Calls of one caller by each door, in turn.
        callers: At saturation.
        seconds: Of each part of the saturation.
        rounds: Parts of each door, in turn.
    """

    grpc: str
    http: str
    pid: int
    source: str
    target: str
    texts: Sequence[str]
    pairs: int = 200
    callers: int = 64
    seconds: float = 5.0
    rounds: int = 3

    def to_json(self) -> str:
        """Write it on one line."""
        return json.dumps(asdict(self))


class _HttpCaller:
    """One connection that is kept open."""

    def __init__(self, address: str, requests: Sequence[bytes]) -> None:
        self._address = address
        self._requests = requests
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, index: int) -> None:
        if self._streams is None:
            host, _, port = self._address.rpartition(":")
            self._streams = await asyncio.open_connection(host, int(port))
        reader, writer = self._streams
        writer.write(self._requests[index % len(self._requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(one[len(_LENGTH) :]) for one in lines if one.startswith(_LENGTH))
        body = await reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise EngineError(f"the server answered {head[:40]!r} {body[:200]!r}")


def _http_requests(load: DoorLoad, door: str) -> list[bytes]:
    bodies: list[dict[str, Any]]
    if door == "deepl":
        path = "/v2/translate"
        same = {"source_lang": load.source.upper(), "target_lang": load.target.upper()}
        bodies = [{"text": [text], **same} for text in load.texts]
    elif door == "libretranslate detect":
        path = "/detect"
        bodies = [{"q": text} for text in load.texts]
    else:
        path = "/translate"
        bodies = [{"q": one, "source": load.source, "target": load.target} for one in load.texts]
    return [_request(path, load.http, json.dumps(one).encode()) for one in bodies]


def _request(path: str, host: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _calls(load: DoorLoad, door: str, callers: int) -> tuple[list[Call], list[Any]]:
    """Return one call for each caller, and what is to be closed afterwards."""
    if not door.startswith("grpc"):
        requests = _http_requests(load, door)
        return [_HttpCaller(load.http, requests).call for _ in range(callers)], []
    method = TRANSLATE if door == "grpc" else _DETECT_METHOD
    messages = [_message(load, door, text) for text in load.texts]
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    count = -(-callers // CALLERS_PER_CHANNEL)
    channels = [grpc.aio.insecure_channel(load.grpc, options) for _ in range(count)]
    methods = [channel.unary_unary(method, None, None) for channel in channels]

    def caller(method: Any) -> Call:
        async def call(index: int) -> None:
            await method(messages[index % len(messages)])

        return call

    return [caller(methods[n % count]) for n in range(callers)], channels


def processor_ms(pid: int) -> float:
    """Return the processor time of all threads of a process, as the scheduler counts it."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(one.read_text(encoding="ascii").split()[0]) for one in tasks) / 1e6


def _message(load: DoorLoad, door: str, text: str) -> bytes:
    if door != "grpc":
        return pb.DetectLanguageRequest(contents=[text]).SerializeToString()
    return pb.TranslateTextRequest(
        contents=[text], source_language_code=load.source, target_language_code=load.target
    ).SerializeToString()


async def _alone(load: DoorLoad) -> list[dict[str, tuple[float, float]]]:
    """Call by each door in turn, one call at a time.

    Returns:
        For each text and each door milliseconds on the clock, and of the server's processors.
    """
    made = {door: _calls(load, door, 1) for door in (*DOORS, *DETECT)}
    found = []
    for index in range(-min(_WARM, len(load.texts)), load.pairs):
        turn = {}
        for door, ((call,), _) in made.items():
            used, began = processor_ms(load.pid), time.perf_counter()
            await call(index)
            ended = time.perf_counter()
            turn[door] = (1000 * (ended - began), processor_ms(load.pid) - used)
        if index >= 0:
            found.append(turn)
    await _close(channel for _, channels in made.values() for channel in channels)
    return found


async def _saturated(load: DoorLoad, door: str) -> tuple[float, float]:
    """Let many callers call again and again.

    Returns:
        Calls a second, and milliseconds of the server's processors for each.
    """
    calls, channels = _calls(load, door, load.callers)
    counts_from = time.perf_counter() + 1.0
    ends, done, counted = counts_from + load.seconds, 0, 0
    used = processor_ms(load.pid)

    async def again(call: Call, index: int) -> None:
        nonlocal done, counted
        while time.perf_counter() < ends:
            await call(index)
            index += load.callers
            done += 1
            counted += counts_from <= time.perf_counter() < ends

    await asyncio.gather(*(again(call, index) for index, call in enumerate(calls)))
    used = processor_ms(load.pid) - used
    await _close(channels)
    return counted / load.seconds, used / max(done, 1)


async def _close(channels: Any) -> None:
    for channel in channels:
        await channel.close(None)


async def _run(load: DoorLoad) -> dict[str, Any]:
    alone = await _alone(load)
    parts = [{door: await _saturated(load, door) for door in DOORS} for _ in range(load.rounds)]
    return {"alone": alone, "saturated": parts}


def main() -> None:
    """Read a load, run it, print the times."""
    load = DoorLoad(**json.loads(sys.stdin.readline()))
    print(json.dumps(asyncio.run(_run(load))), flush=True)


if __name__ == "__main__":
    main()
