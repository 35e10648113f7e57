"""A whole server under load, beside its engine alone, in one run.

Server, callers and engine are processes of their own; what callers and server take of the processor
is counted apart. The engine alone runs the same texts, already tokenized, in a full batch: the most
that any server around it could reach.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from hub.bench.machine import machine, versions
from hub.bench.options import threads_or_all
from hub.errors import EngineError, SettingsError
from hub.keys import KeyFile
from server.bench.load import Group, Load

SCENARIOS: Final = ("saturation", "overload", "storm", "flood", "cancels")
WAIT: Final = 180.0


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What is measured.

    Attributes:
        base: As the setting.
        pair: Of all texts.
        callers: Numbers of callers of the saturation.
        seconds: Of each part that counts.
        deadline_ms: Of calls of the overload; 0 for twice what a call takes at saturation.
        queue: Texts that may wait, in the storm alone; elsewhere the setting's default.
        scenarios: Which, in order; the overload needs the saturation before it.
        threads: Of the engine.
        engine: Where the server's runs, as the setting.
    """

    base: str = "embedded"
    pair: tuple[str, str] = ("en", "ko")
    callers: tuple[int, ...] = (1, 16, 64, 256)
    seconds: float = 10.0
    deadline_ms: float = 0.0
    queue: int = 128
    scenarios: tuple[str, ...] = SCENARIOS
    threads: int | None = None
    engine: str = "thread"

    def check(self) -> None:
        """Refuse names that are no scenario.

        Raises:
            SettingsError: One is not known.
        """
        for name in self.scenarios:
            if name not in SCENARIOS:
                raise SettingsError(
                    f"scenario {name!r} is not known; use some of {', '.join(SCENARIOS)}"
                )
        if "overload" in self.scenarios and "saturation" not in self.scenarios:
            raise SettingsError("the overload is a multiple of the saturation; measure both")


@dataclass(frozen=True, slots=True)
class Serving:
    """A server in a process of its own."""

    target: str
    pid: int
    options: ServeOptions
    texts: Sequence[str]
    http: str = ""

    def under(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Run groups of callers against it, in another process, and return what they say.

        Raises:
            EngineError: The callers failed.
        """
        load = Load(self.target, *self.options.pair, self.texts, groups, self.options.seconds)
        before, began = cpu_seconds(self.pid), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "server.bench.load"],
            input=f"{load.to_json()}\n",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise EngineError(f"the callers failed: {done.stderr.strip()[-500:]}")
        wall = time.perf_counter() - began
        found: dict[str, Any] = json.loads(done.stdout)
        return {**found, "server_cpus": round((cpu_seconds(self.pid) - before) / wall, 3)}


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its children have taken."""
    ticks = sum(int(one[11]) + int(one[12]) for one in _stats(pid))
    return ticks / os.sysconf("SC_CLK_TCK")


def _stats(pid: int) -> Iterator[list[str]]:
    """Yield what /proc says of a process and of each of its children, from the state on."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if str(pid) in (path.parent.name, fields[1]):
            yield fields


@contextmanager
def server(
    options: ServeOptions, texts: Sequence[str], folder: Path, **flags: str
) -> Iterator[Serving]:
    """Start a server, and stop it after the block.

    Raises:
        EngineError: It did not come up.
    """
    given = {"registry": str(folder / "registry"), "base": options.base, "port": "0",
             "metrics-port": "0", "announce": "json", "engine": options.engine,
             **flags}  # fmt: skip
    if options.threads is not None:
        given["threads"] = str(options.threads)
    command = [part for name, value in given.items() for part in (f"--{name}", value)]
    with subprocess.Popen(
        [sys.executable, "-m", "hub", "serve", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise EngineError("the server did not start; try `hub serve` with the same options")
            ready = json.loads(line)
            http = ready.get("http", "")
            yield Serving(ready["grpc"], process.pid, options, texts, http)
        finally:
            process.terminate()
            process.wait(WAIT)


def texts_of(language: str, count: int = 200) -> list[str]:
    """Return names of countries and regions in a language (CLDR): short texts that all have."""
    from babel import Locale

    return sorted(Locale.parse(language, sep="-").territories.values())[:count]


def bench_serve(options: ServeOptions, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure every scenario.

    Raises:
        SettingsError: A scenario is not known.
        HubError: Engine, server or callers failed.
    """
    options.check()
    texts = texts_of(options.pair[0])
    say("the engine alone …")
    found: dict[str, Any] = {
        "machine": machine(threads_or_all(options.threads)),
        "versions": versions(),
        "options": asdict(options),
        "engine_alone": engine_alone(options, texts),
        "scenarios": {},
    }
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as scratch:
        for name in options.scenarios:
            say(f"{name} …")
            measure = _MEASURES[name]
            found["scenarios"][name] = measure(options, texts, Path(scratch), found)
    return found


def engine_alone(options: ServeOptions, texts: Sequence[str]) -> dict[str, float]:
    """Run the engine by itself in a process of its own; texts and output tokens a second."""
    request = {
        "base": options.base, "pair": options.pair, "texts": list(texts),
        "seconds": options.seconds, "threads": options.threads,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "server.bench.alone"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EngineError(f"the engine failed: {done.stderr.strip()[-500:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


_Measure = Callable[[ServeOptions, Sequence[str], Path, Mapping[str, Any]], Any]


def _saturation(
    options: ServeOptions, texts: Sequence[str], folder: Path, found: Mapping[str, Any]
) -> list[dict[str, Any]]:
    rows = []
    with server(options, texts, folder) as serving:
        for callers in options.callers:
            report = serving.under([Group("all", callers=callers)])
            rate = report["groups"]["all"]["per_second"]
            share = rate / found["engine_alone"]["texts_per_second"]
            rows.append({"callers": callers, "of_engine": round(share, 3), **report})
    return rows


def _peak(found: Mapping[str, Any]) -> tuple[float, float]:
    """Return the most calls a second, and the median milliseconds of a call then."""
    rows = [row["groups"]["all"] for row in found["scenarios"]["saturation"]]
    best = max(rows, key=lambda row: row["per_second"])
    return best["per_second"], (best["answered_ms"] or {"p50": 1000.0})["p50"]


def _overload(
    options: ServeOptions, texts: Sequence[str], folder: Path, found: Mapping[str, Any]
) -> dict[str, Any]:
    """Call at four times the peak, whatever is answered, and then at a tenth: does it recover?"""
    peak, usual = _peak(found)
    deadline = options.deadline_ms or 2 * usual
    with server(options, texts, folder) as serving:
        report = serving.under([Group("all", rate=4 * peak, deadline_ms=deadline)])
        after = serving.under([Group("all", rate=peak / 10, deadline_ms=deadline)])
    goodput = report["groups"]["all"]["per_second"]
    return {
        "rate": round(4 * peak, 1),
        "deadline_ms": round(deadline, 1),
        "goodput_of_peak": round(goodput / peak, 3) if peak else None,
        **report,
        "afterwards": after["groups"]["all"],
    }


def _storm(
    options: ServeOptions, texts: Sequence[str], folder: Path, found: Mapping[str, Any]
) -> dict[str, Any]:
    """1,024 callers that call again at once when they are refused, against a short queue."""
    with server(options, texts, folder, queue=str(options.queue)) as serving:
        return {"callers": 1024, "queue": options.queue} | serving.under(
            [Group("all", callers=1024)]
        )


def _flood(
    options: ServeOptions, texts: Sequence[str], folder: Path, found: Mapping[str, Any]
) -> dict[str, Any]:
    """One tenant beside another of its kind, and then beside one with ten times the callers."""
    file, keys = KeyFile(), {}
    for tenant in ("steady", "other"):
        file, _, keys[tenant] = file.added(tenant, ["translate"])
    file.write(folder / "keys.json")
    steady = Group("steady", callers=8, key=keys["steady"])
    other = Group("other", callers=8, key=keys["other"])
    with server(options, texts, folder, keys=str(folder / "keys.json")) as serving:
        alike = serving.under([steady, other])
        flooded = serving.under([steady, replace(other, callers=80)])
    before, after = (one["groups"]["steady"]["answered_ms"] for one in (alike, flooded))
    rise = round(after["p95"] / before["p95"] - 1, 3) if before and after else None
    return {"p95_rise": rise, "alike": alike, "flooded": flooded}


def _cancels(
    options: ServeOptions, texts: Sequence[str], folder: Path, found: Mapping[str, Any]
) -> dict[str, Any]:
    """Calls that are cancelled or run out of time at random moments, and what they leave behind."""
    with server(options, texts, folder) as serving:
        serving.under([Group("all", callers=16)])
        before = held_by(serving.pid)
        report = serving.under(
            [
                Group("cancelled", callers=64, cancel_ms=400),
                Group("timed", callers=64, deadline_ms=200),
            ]
        )
        calm = serving.under([Group("all", callers=16)])
        after = held_by(serving.pid)
    return {
        **report,
        "afterwards": calm["groups"]["all"],
        "held": {"before": before, "after": after},
    }


def held_by(pid: int) -> dict[str, int]:
    """Return descriptors and threads of a process, and the resident bytes with its children's."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in status if ":" in line)
    pages = sum(int(one[21]) for one in _stats(pid))
    return {
        "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": int(fields["Threads"]),
        "resident_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
    }


_MEASURES: Final[Mapping[str, _Measure]] = {
    "saturation": _saturation,
    "overload": _overload,
    "storm": _storm,
    "flood": _flood,
    "cancels": _cancels,
}
