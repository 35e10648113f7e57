"""Calls that end at random moments: `python tests/support/fickle.py TARGET COUNT SEED ADAPTER…`.

Half of them are cancelled, the others run out of time; both within a fraction of a second. Prints
how they ended, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from typing import Any

import grpc
import grpc.aio

from hub.pb.adapterhub.v1 import translation_service_pb2 as pb

TRANSLATE = "/adapterhub.v1.TranslationService/TranslateText"
STREAM = "/adapterhub.v1.TranslationService/StreamTranslateText"
AT_ONCE = 24
SOON = 0.4
"""Seconds within which a call is cancelled, or has to be answered."""
TEXTS = (
    "Monday", "Hello, {name}!", "<b>one</b> and <i>two</i>", "Seoul. Paris. Berlin.",
    "3 days " * 30,
)  # fmt: skip


async def torment(target: str, count: int, adapters: list[str], seed: int) -> Counter[str]:
    """Make calls that end at random moments; count how."""
    chance, told, numbers = random.Random(seed), Counter[str](), iter(range(count))
    async with grpc.aio.insecure_channel(target) as channel:
        unary, stream = channel.unary_unary(TRANSLATE), channel.unary_stream(STREAM)

        async def one() -> None:
            request = pb.TranslateTextRequest(
                contents=chance.choices(TEXTS, k=chance.randrange(1, 5)),
                source_language_code=chance.choice(("en", "en", "")),
                target_language_code="ko",
                adapter=chance.choice(adapters),
                mime_type=chance.choice(("text/plain", "text/html")),
                decoding=pb.DecodingOptions(beam_size=chance.choice((1, 2)), max_output_tokens=40),
            ).SerializeToString()
            late = chance.random() < 0.5
            timeout = chance.uniform(0.001, SOON) if late else 60
            streamed = chance.random() < 0.3
            call: Any = (stream if streamed else unary)(request, timeout=timeout)
            if not late:
                asyncio.get_running_loop().call_later(chance.uniform(0, SOON), call.cancel)
            try:
                if streamed:
                    async for _ in call:
                        pass
                else:
                    await call
                told["OK"] += 1
            except grpc.aio.AioRpcError as error:
                told[error.code().name] += 1
            except asyncio.CancelledError:
                told["CANCELLED"] += 1

        async def some() -> None:
            for _ in numbers:
                await one()

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return told


if __name__ == "__main__":
    target, count, seed, *adapters = sys.argv[1:]
    print(json.dumps(asyncio.run(torment(target, int(count), ["", *adapters], int(seed)))))
