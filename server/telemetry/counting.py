"""Counts a call in the metrics, whichever door it came in by."""

from __future__ import annotations

import asyncio

from server.draining import Calls
from server.telemetry.calls import current_call
from server.telemetry.metrics import Metrics
from server.telemetry.observation import observe_tenant
from server.telemetry.traces import current_trace


class CallCount:
    """Counts one call from begin to end.

    Attributes:
        code: Name of the gRPC status that the call ends with.
    """

    def __init__(self, metrics: Metrics, calls: Calls | None, labels: tuple[str, str, str]) -> None:
        """Prepare to count.

        Args:
            metrics: Where it is counted.
            calls: Those that the server waits for before it stops; None for a call that it does
                not wait for.
            labels: Type, service and method.
        """
        self.code = "OK"
        self._metrics = metrics
        self._calls = calls
        self._labels = labels
        self._began = 0.0

    def __enter__(self) -> CallCount:
        self._metrics.calls_started.labels(*self._labels).inc()
        self._began = asyncio.get_running_loop().time()
        if self._calls is not None:
            self._calls.begin()
        return self

    def __exit__(self, *_: object) -> None:
        if self._calls is not None:
            self._calls.end()
        seconds = asyncio.get_running_loop().time() - self._began
        self._metrics.calls_handled.labels(*self._labels, self.code).inc()
        if (record := current_call()) is not None:
            items = record.result.items if record.result is not None else ()
            observe_tenant(self._metrics, record.tenant, self.code, items)
        trace = current_trace()
        exemplar = trace.exemplar if trace is not None else None
        if trace is not None:
            trace.note_code(self.code)
        if not self._labels[1].startswith("grpc."):  # watches and reflection stay open at will
            self._metrics.call_seconds.labels(*self._labels).observe(seconds, exemplar)
