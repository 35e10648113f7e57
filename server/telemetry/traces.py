"""The trace of the call that is being served, as the rooms behind the door see it.

A door opens one (`server.grpc.tracing`) where tracing is on; without it there is none, and nothing
of OpenTelemetry is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol

from hub.errors import SettingsError
from server.messages import ItemResult, Outcome


class CallTrace(Protocol):
    """The span of one call."""

    @property
    def exemplar(self) -> dict[str, str] | None:
        """Labels by which a metric points to this trace; None when it is not recorded."""

    def note_code(self, code: str) -> None:
        """Note the name of the gRPC status that the call ends with."""

    def add_stages(self, began: float, stages: Mapping[str, float]) -> None:
        """Add stages that followed one another from a monotonic time on: name → seconds."""

    def add_item(self, item: ItemResult, outcomes: Iterable[Outcome]) -> None:
        """Add a text and the stages of its sentences."""


class CallTracer(Protocol):
    """Opens the traces of calls."""

    def call(
        self, method: str, metadata: Iterable[tuple[str, str | bytes]]
    ) -> AbstractContextManager[CallTrace]:
        """Trace a call for as long as the block runs.

        Args:
            method: "package.Service/Method".
            metadata: The caller's headers, of which the trace context is read.
        """

    def close(self) -> None:
        """Send what is still to be sent. Blocks."""


_current: ContextVar[CallTrace | None] = ContextVar("trace", default=None)


def current_trace() -> CallTrace | None:
    """Return the trace of the call that is being served, None where there is none."""
    return _current.get()


def open_tracer(where: str) -> CallTracer | None:
    """Return what traces calls, None where tracing is off.

    Args:
        where: "off", "otlp:URL" or "file:PATH", as the setting `tracing`.

    Raises:
        SettingsError: The packages for it are not installed, or the file cannot be written.
    """
    if where == "off":
        return None
    try:
        from server.telemetry.opentelemetry_spans import Tracer, exporter_to
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"tracing = {where!r} needs {error.name}, which is not installed; "
            "pip install 'adapterhub[tracing]'",
            field="tracing",
        ) from None
    return Tracer(exporter_to(where))


@contextmanager
def tracing(trace: CallTrace) -> Iterator[None]:
    """Make a trace the current one within the block, for the task that serves the call."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)
