"""Bodies that nobody should send, over every method that a server has.

The methods and the types of their requests are asked of the server itself, by reflection, so a
method that is added is fuzzed from then on. A body is a valid message with unlikely values, such a
message with bytes changed, cut, doubled or moved, or no message at all.

    python tests/support/fuzzing.py 127.0.0.1:8443 --count 100000 [--key KEY]

prints how many calls ended with which status, and ends with 1 where one was answered with UNKNOWN,
INTERNAL, DATA_LOSS or UNAVAILABLE; those bodies are printed in hexadecimal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

FAULTS: Final = frozenset({"UNKNOWN", "INTERNAL", "DATA_LOSS", "UNAVAILABLE"})
AT_ONCE: Final = 16
TIMEOUT: Final = 20.0
STREAM_TIMEOUT: Final = 0.5
"""Of streams that go on for ever, such as health watches."""
_DEPTH: Final = 3
_MAX_REPEATED: Final = 4

WORDS: Final = (
    "", " ", "\t\r\n", "a", "en", "ko", "de", "fr", "EN-us", "zh_Hant", "xx", "und", "en-",
    "Monday", "3 days", "Hello, {name}! %s %1$d {{x}} {n, plural, one {a} other {b}}", "x" * 300,
    "<b>bold</b>", "<p>a<br>b</p><script>x</script>", "<b><i></b></i>", "<" * 50, "a" * 2000,
    "&amp;&#0;&#xD800;&nosuch;", "🏳️\u200d🌈 e\u0301\u0301", "\u202e\u2066abc", "\u200b",
    "\ufeff", "\x00", "\x1b[31m", "\x85", "مرحبا", "한국어", "ไทย", "𝔘𝔫𝔦", "\U0010ffff", "\ufffe",
    "../../etc/passwd", "name@prod", "name:1", "name:99999999999999999999", "@", ":", "base",
    "sha256:" + "0" * 64, "sha256:", "%00", "'; drop table", "text/plain", "text/html",
    "application/xml", "lora", "lora:1", "prod", "1", "-1", "*", "[", "terms",
)  # fmt: skip
_NUMBERS: Final = (0, 1, 2, 3, 4, 8, 64, 255, 256, 1024, 2**16, 2**31 - 1)
_FLOATS: Final = (0.0, -0.0, 1.0, 0.5, -1.0, 10.0, 1e-300, 1e300, math.inf, -math.inf, math.nan)

PLAUSIBLE: Final[Mapping[str, Sequence[Any]]] = {
    "contents": (
        "Monday",
        "3 days",
        "Hello, {name}!",
        "<b>one</b> <i>two</i>",
        "Seoul. And Paris!",
    ),
    "text": ("Monday", "3 days"),
    "source_language_code": ("en", "en", "en", "", "en-US"),
    "target_language_code": ("ko", "de", "fr", "ja"),
    "adapter": ("",),
    "domain": ("",),
    "require_adapter": (False,),
    "mime_type": ("", "text/plain", "text/html"),
    "beam_size": (1, 2, 4),
    "num_alternatives": (0, 0, 1),
    "max_output_tokens": (1, 4, 8),
    "length_penalty": (0.5, 1.0, 2.0),
    "name": ("terms", "other"),
    "glossary": ("", "", "terms"),
    "source": ("Monday", "days"),
    "targets": ("하나", "둘"),
    "page_size": (0, 1, 100),
    "page_token": ("",),
    "latest_only": (False, True),
    "service": ("", "adapterhub.v1.TranslationService"),
}
"""Values that get a body past the first check, by the name of the field."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the server.

    Attributes:
        name: "/package.Service/Method".
        request: The class of its requests.
        streams: Whether the caller streams, and whether the server does.
    """

    name: str
    request: type[Message]
    streams: tuple[bool, bool]


@dataclass(slots=True)
class Findings:
    """How calls ended.

    Attributes:
        told: Statuses, by method.
        faults: Method, status, words and body of each call that ended as none should.
    """

    told: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def total(self) -> Counter[str]:
        """Return statuses over all methods."""
        return sum(self.told.values(), Counter())

    def note(self, method: str, code: str, details: str, body: bytes) -> None:
        """Count the end of a call."""
        self.told.setdefault(method, Counter())[code] += 1
        if code in FAULTS:
            self.faults.append((method, code, details, body.hex()))


def methods_of(target: str, key: str = "") -> list[Method]:
    """Ask a server for its methods."""
    pool = descriptor_pool.DescriptorPool()
    found: list[Method] = []
    with grpc.insecure_channel(target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        metadata = [("authorization", f"Bearer {key}")] if key else None

        def ask(**question: str) -> Any:
            asked = iter([reflection_pb2.ServerReflectionRequest(**question)])
            return next(stub.ServerReflectionInfo(asked, timeout=TIMEOUT, metadata=metadata))

        def learn(file: descriptor_pb2.FileDescriptorProto) -> None:
            for needed in file.dependency:
                reply = ask(file_by_filename=needed).file_descriptor_response
                for data in reply.file_descriptor_proto:
                    learn(descriptor_pb2.FileDescriptorProto.FromString(data))
            pool.Add(file)

        for service in ask(list_services="").list_services_response.service:
            reply = ask(file_containing_symbol=service.name).file_descriptor_response
            for data in reply.file_descriptor_proto:
                learn(descriptor_pb2.FileDescriptorProto.FromString(data))
            for method in pool.FindServiceByName(service.name).methods:
                request = message_factory.GetMessageClass(method.input_type)
                streams = method.client_streaming, method.server_streaming
                found.append(Method(f"/{service.name}/{method.name}", request, streams))
    return sorted(found, key=lambda method: method.name)


class Bodies:
    """Makes bodies; the same seed makes the same."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._plausible = False  # whether most fields of this body have a value that is usual

    def of(self, method: Method) -> bytes:
        """Return a body for a method."""
        chance = self._chance.random()
        if chance < 0.05:
            return self._chance.randbytes(self._chance.randrange(64))
        self._plausible = self._chance.random() < 0.7
        body = bytearray(self._filled(method.request()).SerializeToString())
        if chance < 0.4:
            for _ in range(self._chance.randrange(1, 5)):
                self._mutate(body)
        return bytes(body)

    def headers(self) -> list[tuple[str, str]]:
        """Return metadata that a caller might send."""
        if self._chance.random() < 0.9:
            return []
        names = ("x-request-id", "traceparent", "authorization", "x-goog-request-params")
        values = ("", "a" * 500, "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "Bearer x", "~", "=&=")
        return [(self._chance.choice(names), self._chance.choice(values))]

    def _mutate(self, body: bytearray) -> None:
        kind, at = self._chance.randrange(5), self._chance.randrange(len(body) + 1)
        some = self._chance.randrange(1, 9)
        if kind == 0 and body:
            body[at % len(body)] ^= 1 << self._chance.randrange(8)
        elif kind == 1:
            del body[at:]
        elif kind == 2:
            body[at:at] = self._chance.randbytes(some)
        elif kind == 3:
            body[at:at] = body[at : at + some]
        else:
            del body[at : at + some]

    def _filled(self, message: Message, depth: int = 0) -> Message:
        for one in message.DESCRIPTOR.fields:
            usual = self._plausible and one.name in PLAUSIBLE
            if self._chance.random() < (0.05 if usual else 0.35):
                continue
            if one.message_type is not None and one.message_type.GetOptions().map_entry:
                self._fill_map(message, one)
            elif one.is_repeated:
                for _ in range(self._chance.randrange(_MAX_REPEATED)):
                    self._append(message, one, depth)
            elif one.message_type is not None:
                if depth < _DEPTH:
                    child = getattr(message, one.name)
                    child.SetInParent()
                    self._filled(child, depth + 1)
            else:
                setattr(message, one.name, self._value(one))
        return message

    def _append(self, message: Message, one: Any, depth: int) -> None:
        values = getattr(message, one.name)
        if one.message_type is None:
            values.append(self._value(one))
        elif depth < _DEPTH:
            self._filled(values.add(), depth + 1)

    def _fill_map(self, message: Message, one: Any) -> None:
        entry = one.message_type
        value = entry.fields_by_name["value"]
        if value.message_type is None:
            for _ in range(self._chance.randrange(_MAX_REPEATED)):
                key = self._value(entry.fields_by_name["key"])
                getattr(message, one.name)[key] = self._value(value)

    def _value(self, one: Any) -> Any:
        """Return an unlikely value of a scalar field."""
        kind = one.cpp_type
        if self._plausible and self._chance.random() < 0.95:
            if one.name in PLAUSIBLE:
                return self._chance.choice(PLAUSIBLE[one.name])
            if one.enum_type is not None:
                return self._chance.choice(one.enum_type.values).number
        if kind == FieldDescriptor.CPPTYPE_STRING:
            text = self._text()
            return text.encode() if one.type == FieldDescriptor.TYPE_BYTES else text
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return self._chance.random() < 0.5
        if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
            return self._chance.choice(_FLOATS)
        number = self._chance.choice(_NUMBERS)
        signed = kind not in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
        return -number if signed and self._chance.random() < 0.2 else number

    def _text(self) -> str:
        if self._chance.random() < 0.8:
            return self._chance.choice(WORDS)
        return "".join(self._chance.choice(WORDS)[:40] for _ in range(self._chance.randrange(4)))


async def fuzz(
    target: str,
    methods: Sequence[Method],
    count: int,
    *,
    seed: int = 1,
    key: str = "",
    progress: Callable[[int], None] = lambda done: None,
) -> Findings:
    """Send bodies to every method in turn, a few at a time."""
    findings, bodies = Findings(), Bodies(seed)
    queue: Iterator[int] = iter(range(count))
    async with grpc.aio.insecure_channel(target) as channel:

        async def call_some() -> None:
            for number in queue:
                method = methods[number % len(methods)]
                body, headers = bodies.of(method), bodies.headers()
                if key:
                    headers = [("authorization", f"Bearer {key}")]
                code, details = await _called(channel, method, body, headers)
                findings.note(method.name, code, details, body)
                progress(number)

        await asyncio.gather(*(call_some() for _ in range(AT_ONCE)))
    return findings


async def _called(
    channel: grpc.aio.Channel, method: Method, body: bytes, headers: Sequence[tuple[str, str]]
) -> tuple[str, str]:
    many, streamed = method.streams
    kind = f"{'stream' if many else 'unary'}_{'stream' if streamed else 'unary'}"
    request: Any = iter([body]) if many else body
    endless = method.name.endswith("/Watch")
    call = getattr(channel, kind)(method.name)(
        request, timeout=STREAM_TIMEOUT if endless else TIMEOUT, metadata=headers
    )
    try:
        if streamed:
            async for _ in call:
                if endless:
                    break
            call.cancel()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code().name, str(error.details())
    return "OK", ""


def main() -> int:
    """Fuzz a server that runs."""
    parser = argparse.ArgumentParser(description="Send bodies to every method of a server.")
    parser.add_argument("target")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--key", default="")
    given = parser.parse_args()
    methods = methods_of(given.target, given.key)

    def progress(done: int) -> None:
        if done % 5000 == 0:
            print(f"{done} …", file=sys.stderr, flush=True)

    found = asyncio.run(
        fuzz(given.target, methods, given.count, seed=given.seed, key=given.key, progress=progress)
    )
    told = {name: dict(codes) for name, codes in sorted(found.told.items())}
    print(json.dumps({"calls": found.total.total(), "told": dict(found.total), "by_method": told}))
    for fault in found.faults[:20]:
        print(*fault, file=sys.stderr)
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
