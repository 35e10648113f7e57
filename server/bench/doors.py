"""What the HTTP doors cost beside gRPC's: the same texts by each of them, in one run.

One server, one process of callers. With one caller the doors take turns call by call, so that each
triple of calls meets the same machine; at saturation they take turns for a few seconds each.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from hub.bench.machine import machine, versions
from hub.bench.options import threads_or_all
from hub.errors import EngineError
from server.bench.door_callers import DETECT, DOORS, DoorLoad
from server.bench.serve import ServeOptions, server, texts_of

_PACKAGES: Final = ("starlette", "uvicorn", "httptools", "grpcio")


def bench_doors(options: ServeOptions, *, pairs: int, callers: int, rounds: int) -> dict[str, Any]:
    """Measure every door.

    Args:
        options: Base, pair, threads, and the seconds of each part of the saturation.
        pairs: Calls of one caller by each door.
        callers: At saturation.
        rounds: Parts of each door at saturation.

    Raises:
        EngineError: Server or callers failed.
    """
    texts = texts_of(options.pair[0])
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as scratch:
        flags = {"http-port": "0"}
        with server(options, texts, Path(scratch), **flags) as serving:
            load = DoorLoad(
                serving.target, serving.http, serving.pid, *options.pair, texts, pairs, callers,
                options.seconds, rounds,
            )  # fmt: skip
            found = _run(load)
    return {
        "machine": machine(threads_or_all(options.threads)),
        "versions": versions() | {name: version(name) for name in _PACKAGES},
        "texts": len(texts),
        "pairs": pairs,
        "callers": callers,
        "rows": [
            *(
                _alone(door, "grpc", found["alone"]) | _saturated(door, found["saturated"])
                for door in DOORS
            ),
            *(_alone(door, DETECT[0], found["alone"]) for door in DETECT),
        ],
    }


def _run(load: DoorLoad) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "server.bench.door_callers"],
        input=f"{load.to_json()}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EngineError(f"the callers failed: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


_Pairs = Sequence[Mapping[str, tuple[float, float]]]


def _alone(door: str, beside: str, turns: _Pairs) -> dict[str, Any]:
    """Return the figures of one caller; what is added is the median over calls side by side."""
    clock, processor = zip(*(turn[door] for turn in turns), strict=True)
    added = [
        statistics.median(turn[door][which] - turn[beside][which] for turn in turns)
        for which in (0, 1)
    ]
    return {
        "door": door,
        "p50_ms": round(statistics.median(clock), 2),
        "adds_ms": round(added[0], 2),
        "processor_ms": round(statistics.median(processor), 2),
        "adds_processor_ms": round(added[1], 2),
    }


def _saturated(door: str, parts: _Pairs) -> dict[str, Any]:
    """Return the figures of many callers; ratios are of parts side by side."""
    rates, cost = zip(*(part[door] for part in parts), strict=True)
    ratios = [part[door][0] / part["grpc"][0] for part in parts]
    return {
        "per_second": round(statistics.median(rates), 1),
        "of_grpc": round(statistics.median(ratios), 3),
        "of_grpc_least": round(min(ratios), 3),
        "of_grpc_most": round(max(ratios), 3),
        "saturated_processor_ms": round(statistics.median(cost), 2),
    }
