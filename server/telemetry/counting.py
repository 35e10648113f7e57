"""Counts a call in the metrics, whichever door it came in by."""

from __future__ import annotations

import asyncio
from functools import cache

from server.draining import Calls
from server.telemetry.calls import current_call
from server.telemetry.metrics import Metrics
from server.telemetry.observation import observe_tenant
from server.telemetry.traces import current_trace


class MethodSeries:
    """The series of one method: finding one by its labels takes longer than counting.

    Attributes:
        seconds: None for watches and reflection, which stay open at will.
        handled: Returns the series of a status, by its gRPC name.
    """

    def __init__(self, metrics: Metrics, labels: tuple[str, str, str]) -> None:
        """Find them.

        Args:
            metrics: Where calls are counted.
            labels: Type, service and method.
        """
        self.metrics = metrics
        self.started = metrics.calls_started.labels(*labels)
        timed = not labels[1].startswith("grpc.")
        self.seconds = metrics.call_seconds.labels(*labels) if timed else None
        self.handled = cache(lambda code: metrics.calls_handled.labels(*labels, code))


class CallCount:
    """Counts one call from begin to end.

    Attributes:
        code: Name of the gRPC status that the call ends with.
    """

    def __init__(self, series: MethodSeries, calls: Calls | None) -> None:
        """Prepare to count.

        Args:
            series: Of its method.
            calls: Those that the server waits for before it stops; None for a call that it does
                not wait for.
        """
        self.code = "OK"
        self._series = series
        self._calls = calls
        self._began = 0.0

    def __enter__(self) -> CallCount:
        self._series.started.inc()
        self._began = asyncio.get_running_loop().time()
        if self._calls is not None:
            self._calls.begin()
        return self

    def __exit__(self, *_: object) -> None:
        if self._calls is not None:
            self._calls.end()
        seconds = asyncio.get_running_loop().time() - self._began
        self._series.handled(self.code).inc()
        if (record := current_call()) is not None:
            items = record.result.items if record.result is not None else ()
            observe_tenant(self._series.metrics, record.tenant, self.code, items)
        trace = current_trace()
        exemplar = trace.exemplar if trace is not None else None
        if trace is not None:
            trace.note_code(self.code)
        if self._series.seconds is not None:
            self._series.seconds.observe(seconds, exemplar)
