"""The engine with a stopwatch: what running rows wait for, and what placing takes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from hub.engine.adapters import HostAdapter
from hub.engine.engine import Engine
from hub.engine.requests import DecodeRequest, StepReport
from hub.manifest import AdapterManifest
from server.bench.turns import Side


@dataclass
class Observed:
    """Passes every call on to the engine, and lets every target be exactly so long.

    Attributes:
        place_ms: Each placement.
        load_ms: Each load, hashing and checks included; filled by loader threads.
        step_ms: Each decoder step, without the encoding before it.
        encode_ms: What was encoded before each of them, 0 for nothing.
        step_rows: The rows of each.
        conversions: Loads from the registry's files; all others were put away before.
        delay_ms: What rows that were running waited between two decoder steps.
    """

    engine: Engine
    side: Side | None = None
    place_ms: list[float] = field(default_factory=list)
    load_ms: list[float] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)
    delay_ms: list[float] = field(default_factory=list)
    encode_ms: list[float] = field(default_factory=list)
    step_rows: list[int] = field(default_factory=list)
    conversions: int = 0
    _ended: float | None = None

    def read_adapter(self, folder: Path, manifest: AdapterManifest | None) -> HostAdapter:
        """Read an adapter."""
        return self.engine.read_adapter(folder, manifest)

    def place(self, slot: int, adapter: HostAdapter) -> None:
        """Place, and note how long it took."""
        began = time.perf_counter()
        self.engine.place(slot, adapter)
        self.place_ms.append((time.perf_counter() - began) * 1000)

    def clear(self, slot: int) -> None:
        """Free a slot."""
        self.engine.clear(slot)

    def admit(self, requests: Sequence[DecodeRequest]) -> None:
        """Admit, with the end token forbidden before the last token."""
        self.engine.admit([_exact(request) for request in requests])

    def cancel(self, keys: Sequence[int]) -> tuple[int, ...]:
        """Drop requests."""
        return self.engine.cancel(keys)

    def clear_times(self) -> None:
        """Forget everything noted so far."""
        for times in (self.place_ms, self.load_ms, self.step_ms, self.delay_ms, self.encode_ms):
            times.clear()
        self.step_rows.clear()
        self.conversions = 0

    def step(self, encode_seconds: float = math.inf) -> StepReport:
        """Step when it is this side's turn, and note what the rows that were running had waited."""
        with nullcontext(0.0) if self.side is None else self.side.work() as waited:
            return self._step(waited, encode_seconds)

    def _step(self, waited: float, encode_seconds: float) -> StepReport:
        began = time.perf_counter()
        report = self.engine.step(encode_seconds)
        if self._ended is not None:
            self.delay_ms.append((began - self._ended - waited + report.encode_seconds) * 1000)
        if report.rows:
            self.step_ms.append(report.decode_seconds * 1000)
            self.encode_ms.append(report.encode_seconds * 1000)
            self.step_rows.append(report.rows)
        self._ended = time.perf_counter() if self.engine.running else None
        return report


def _exact(request: DecodeRequest) -> DecodeRequest:
    options = request.options
    return replace(request, options=replace(options, min_new_tokens=options.max_new_tokens))
