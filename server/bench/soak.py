"""Hours of hard use in minutes: `python -m server.bench.soak --minutes 30`.

A server of its own serves callers that cancel, run out of time, send marked-up texts and long ones,
and name adapters at random, of which there are more than slots and than host memory takes; new
versions are published meanwhile and aliases moved. Every half a minute everybody pauses, and what
the server holds is written down: bytes, descriptors, threads. Growth is counted from the end of the
warm-up, by the median of a few readings at either end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from hub.bases import Base, open_base
from hub.pb.adapterhub.v1 import translation_service_pb2 as pb
from hub.registry import Registry
from server.bench.adapters import random_adapter
from server.bench.residency import publish
from server.bench.serve import ServeOptions, held_by, server, texts_of

ADAPTERS: Final = 24
SLOTS: Final = 4
HOST_BYTES: Final = 2 * 2**20
CALLERS: Final = 16
LAP_SECONDS: Final = 30.0
WARM_LAPS: Final = 4
_TRANSLATE: Final = "/adapterhub.v1.TranslationService/TranslateText"
_STREAM: Final = "/adapterhub.v1.TranslationService/StreamTranslateText"


class Requests:
    """Makes requests of every sort."""

    def __init__(self, adapters: list[str]) -> None:
        self.chance = random.Random(3)
        self._texts = texts_of("en")
        self._adapters = adapters

    def next(self) -> bytes:
        """Return a request, serialised."""
        html = self.chance.random() < 0.3
        contents = [self._text(html=html) for _ in range(self.chance.choice((1, 1, 1, 4)))]
        return pb.TranslateTextRequest(
            contents=contents,
            source_language_code=self.chance.choice(("en", "en", "en", "")),
            target_language_code="ko",
            mime_type="text/html" if html else "text/plain",
            adapter=self.chance.choice(self._adapters),
            decoding=pb.DecodingOptions(beam_size=self.chance.choice((1, 1, 2, 4))),
        ).SerializeToString()

    def _text(self, *, html: bool) -> str:
        words = self.chance.choices(self._texts, k=self.chance.choice((1, 2, 8)))
        if html:
            return "<p>" + ", ".join(f"<b>{word}</b> {{x}}" for word in words) + "</p>"
        return ". ".join(words)


async def lap(target: str, requests: Requests, seconds: float) -> Counter[str]:
    """Call for a while; return how calls ended."""
    told, ends = Counter[str](), time.monotonic() + seconds
    chance = requests.chance
    async with grpc.aio.insecure_channel(target) as channel:
        unary = channel.unary_unary(_TRANSLATE, None, None)
        stream = channel.unary_stream(_STREAM, None, None)

        async def once() -> None:
            streamed, fate = chance.random() < 0.2, chance.random()
            timeout = chance.uniform(0.01, 1) if fate < 0.15 else 60.0
            call: Any = (stream if streamed else unary)(requests.next(), timeout=timeout)
            if fate > 0.8:
                asyncio.get_running_loop().call_later(chance.uniform(0, 0.5), call.cancel)
            if streamed:
                async for _ in call:
                    pass
            else:
                await call

        async def caller() -> None:
            while time.monotonic() < ends:
                try:
                    await once()
                    told["OK"] += 1
                except grpc.aio.AioRpcError as error:
                    told[error.code().name] += 1
                except asyncio.CancelledError:
                    told["CANCELLED"] += 1

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return told


def churn(folder: Path, base: Base, registry: Registry) -> Iterator[None]:
    """Publish a new version of one adapter after another, and move its alias, at each step."""
    points: dict[str, int] = {}
    for seed in count():
        made = random_adapter("lora", 0.005, base.dimensions, folder, seed)
        version = publish(registry, made, base, seed % ADAPTERS, {})
        shutil.rmtree(made.folder)
        name, number = version.name, version.version
        registry.set_alias(name, "prod", number, points.get(name))
        points[name] = number
        yield


def soak(minutes: float) -> dict[str, Any]:
    """Run, and return every reading and the growth."""
    base, told, readings = open_base(), Counter[str](), []
    with tempfile.TemporaryDirectory(prefix="hub-soak-") as scratch:
        folder = Path(scratch)
        with Registry.open(folder / "registry") as registry:
            changes = churn(folder / "made", base, registry)
            for _ in range(ADAPTERS):
                next(changes)
            requests = Requests(["", *(f"{name}@prod" for name in registry.names())])
            flags = {"slots": str(SLOTS), "host-adapter-bytes": str(HOST_BYTES)}
            with server(ServeOptions(threads=1), [], folder, **flags) as serving:
                ends = time.monotonic() + 60 * minutes
                while time.monotonic() < ends:
                    told += asyncio.run(lap(serving.target, requests, LAP_SECONDS))
                    next(changes)
                    readings.append(held_by(serving.pid))
                    print(json.dumps(readings[-1]), dict(told), file=sys.stderr, flush=True)
    return {"minutes": minutes, "told": dict(told), "readings": readings, **_growth(readings)}


def _growth(readings: list[dict[str, int]]) -> dict[str, Any]:
    """Return by how much the last third of the readings is above the first one after warming up."""
    counted = readings[WARM_LAPS:]
    third = max(1, len(counted) // 3)
    if not counted:
        return {"growth": None}
    first, last = counted[:third], counted[-third:]
    return {
        "growth": {
            name: statistics.median(one[name] for one in last)
            - statistics.median(one[name] for one in first)
            for name in counted[0]
        }
    }


def main() -> None:
    """Soak a server and print what it came to, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    print(json.dumps(soak(parser.parse_args().minutes)))


if __name__ == "__main__":
    main()
