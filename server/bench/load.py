"""Callers of a server, in a process of their own: `python -m server.bench.load`.

One line of JSON on standard input says who calls, one on standard output what they were told.
Messages are sent and counted as bytes, so that the callers take little of the processor from the
server that they measure; what they take is reported.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import grpc
import grpc.aio
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from hub.pb.adapterhub.v1 import translation_service_pb2 as pb

TRANSLATE: Final = "/adapterhub.v1.TranslationService/TranslateText"
CALLERS_PER_CHANNEL: Final = 64
_TIMEOUT: Final = 60.0
_REJECTED: Final = frozenset({"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"})


@dataclass(frozen=True, slots=True)
class Group:
    """Callers that behave alike.

    Attributes:
        name: For the report.
        callers: That call again as soon as they are answered; 0 with a rate.
        rate: Calls a second at random moments, whatever has been answered; 0 with callers.
        deadline_ms: Of each call; 0 for none.
        cancel_ms: Each call is cancelled after a random time of at most so long; 0 for never.
        key: Bearer key, "" for none.
    """

    name: str
    callers: int = 0
    rate: float = 0.0
    deadline_ms: float = 0.0
    cancel_ms: float = 0.0
    key: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """What is called, by whom and for how long.

    Attributes:
        warm: Seconds at the beginning that do not count.
    """

    target: str
    source: str
    target_language: str
    texts: Sequence[str]
    groups: Sequence[Group]
    seconds: float
    warm: float = 1.0
    adapters: Sequence[str] = ("",)

    @classmethod
    def of(cls, record: dict[str, Any]) -> Load:
        """Read what `to_json` wrote."""
        groups = [Group(**group) for group in record.pop("groups")]
        return cls(groups=groups, **record)

    def to_json(self) -> str:
        """Write it on one line."""
        return json.dumps(asdict(self))


@dataclass(slots=True)
class Tally:
    """What the callers of a group were told, and after how long."""

    told: Counter[str] = field(default_factory=Counter)
    answered: list[float] = field(default_factory=list)
    rejected: list[float] = field(default_factory=list)

    def note(self, code: str, reason: str, seconds: float) -> None:
        """Count the end of a call."""
        self.told[f"{code} {reason}".strip()] += 1
        if code == "OK":
            self.answered.append(seconds)
        elif code in _REJECTED and reason:  # told so by the server, not by the caller's own clock
            self.rejected.append(seconds)

    def report(self, seconds: float) -> dict[str, Any]:
        """Return figures: calls a second, and milliseconds."""
        return {
            "per_second": round(self.told["OK"] / seconds, 2),
            "told": dict(self.told),
            "answered_ms": _quantiles(self.answered),
            "rejected_ms": _quantiles(self.rejected),
        }


def _quantiles(seconds: Sequence[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    ordered = sorted(1000 * one for one in seconds)
    at = {f"p{q}": ordered[min(len(ordered) - 1, len(ordered) * q // 100)] for q in (50, 95, 99)}
    return {name: round(value, 2) for name, value in at.items()}


class Callers:
    """Runs the groups of a load."""

    def __init__(self, load: Load) -> None:
        """Write every request beforehand; must be called on the event loop."""
        self._load = load
        self._requests = [
            pb.TranslateTextRequest(
                contents=[text],
                source_language_code=load.source,
                target_language_code=load.target_language,
                adapter=adapter,
            ).SerializeToString()
            for text in load.texts
            for adapter in load.adapters
        ]
        self._chance = random.Random(1)
        self._tallies = {group.name: Tally() for group in load.groups}
        self._counts_from = 0.0
        self._ends = 0.0

    async def run(self) -> dict[str, Any]:
        """Call until the time is over, and report."""
        began = time.perf_counter()
        self._counts_from = began + self._load.warm
        self._ends = self._counts_from + self._load.seconds
        cpu = _cpu_seconds()
        await asyncio.gather(*(self._group(group) for group in self._load.groups))
        wall = time.perf_counter() - began
        tallies = self._tallies.items()
        return {
            "groups": {name: tally.report(self._load.seconds) for name, tally in tallies},
            "client_cpus": round((_cpu_seconds() - cpu) / wall, 3),
        }

    async def _group(self, group: Group) -> None:
        channels = [
            grpc.aio.insecure_channel(
                self._load.target,
                [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)],
            )
            for _ in range(max(1, -(-group.callers // CALLERS_PER_CHANNEL)))
        ]
        calls = [channel.unary_unary(TRANSLATE, None, None) for channel in channels]
        if group.rate:
            await self._at_a_rate(calls[0], group)
        else:
            await asyncio.gather(
                *(self._again_and_again(calls[n % len(calls)], group) for n in range(group.callers))
            )
        for channel in channels:
            await channel.close(None)

    async def _again_and_again(self, call: Any, group: Group) -> None:
        while time.perf_counter() < self._ends:
            await self._once(call, group)

    async def _at_a_rate(self, call: Any, group: Group) -> None:
        running: set[asyncio.Task[None]] = set()
        due = time.perf_counter()
        while due < self._ends:
            due += self._chance.expovariate(group.rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(self._once(call, group))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    async def _once(self, call: Any, group: Group) -> None:
        timeout = group.deadline_ms / 1000 if group.deadline_ms else _TIMEOUT
        metadata = (("authorization", f"Bearer {group.key}"),) if group.key else None
        began = time.perf_counter()
        running = call(self._chance.choice(self._requests), timeout=timeout, metadata=metadata)
        if group.cancel_ms:
            after = self._chance.uniform(0, group.cancel_ms / 1000)
            asyncio.get_running_loop().call_later(after, running.cancel)
        code, reason = "OK", ""
        try:
            await running
        except grpc.aio.AioRpcError as error:
            code, reason = error.code().name, _reason(error)
        except asyncio.CancelledError:
            if not running.cancelled():
                raise
            code = "CANCELLED"
        now = time.perf_counter()
        if self._counts_from <= now < self._ends:
            self._tallies[group.name].note(code, reason, now - began)


def _reason(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    info = ErrorInfo()
    known = status is not None and any(detail.Unpack(info) for detail in status.details)
    return str(info.reason) if known else ""


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def _run(load: Load) -> dict[str, Any]:
    return await Callers(load).run()


def main() -> None:
    """Read a load, run it, print the report."""
    load = Load.of(json.loads(sys.stdin.readline()))
    print(json.dumps(asyncio.run(_run(load))), flush=True)


if __name__ == "__main__":
    main()
