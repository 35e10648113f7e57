"""Load shedding at the gRPC door: what would be refused is refused before anything else.

Every interceptor, the access log's line and the metrics of a call together cost several times what
gRPC itself takes to say no; under overload that is what the engine lacks. So this interceptor comes
first, asks whether the queue would take the call, and where it would not, ends the call with the
same status as the queue would, counts it, and leaves it to a line of the log for all refusals of a
second.

It also keeps the handlers that the interceptors behind it make: they depend on the method alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from hub.errors import HubError, UnavailableError
from hub.pb.adapterhub.v1 import translation_service_pb2 as translation_pb
from hub.pb.google.cloud.translation.v3 import translation_service_pb2 as google_pb
from hub.text import is_blank
from server.access.guard import Guard
from server.core import Core
from server.draining import Calls
from server.grpc.status import abort
from server.messages import Priority
from server.telemetry.access import AccessLog
from server.telemetry.counting import MethodSeries
from server.telemetry.metrics import Metrics
from server.telemetry.observation import observe_tenant

if TYPE_CHECKING:  # generic in the stubs alone
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
    Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    Interceptor = grpc.aio.ServerInterceptor

SHED: Final = frozenset(
    (
        "/adapterhub.v1.TranslationService/TranslateText",
        "/adapterhub.v1.TranslationService/StreamTranslateText",
        "/google.cloud.translation.v3.TranslationService/TranslateText",
    )
)
"""Methods whose calls go to the queue."""


_REQUESTS: Final = (translation_pb.TranslateTextRequest, google_pb.TranslateTextRequest)


@dataclass(frozen=True, slots=True)
class Shedding:
    """What decides, and where it counts.

    Attributes:
        core: Returns the application; raises UnavailableError while there is none.
        guard: Knows callers.
        calls: The calls in progress.
    """

    core: Callable[[], Core]
    guard: Guard
    calls: Calls
    metrics: Metrics
    access: AccessLog

    def refusal(
        self, request: Any, headers: Callable[[], Mapping[str, str]], deadline: float | None
    ) -> tuple[HubError, str] | None:
        """Return why a call would be refused and whose it is; None where it is to go on."""
        if self.calls.refusing or not isinstance(request, _REQUESTS):
            return None  # the one knows better, the other is told what is wrong with it
        tenant = self.guard.tenant_of(headers)
        if tenant is None:
            return None
        try:
            translator = self.core().translator
        except UnavailableError:
            return None
        contents, priority = _asked(request, translator.limits.max_contents)
        error = translator.preparation.refusal(contents, deadline, tenant, priority)
        return None if error is None else (error, tenant)

    def delay(self, error: HubError, deadline: float | None) -> float:
        """Return how long the refusal is to wait."""
        return self.core().translator.preparation.delay(error, deadline)


def _asked(request: Any, most: int) -> tuple[Sequence[str], Priority]:
    """Return the texts of a request that would go to the queue first, and their priority.

    Args:
        request: Any of `_REQUESTS`.
        most: Texts of one command.
    """
    if isinstance(request, google_pb.TranslateTextRequest):
        with_words = (text for text in request.contents if not is_blank(text))
        return tuple(islice(with_words, most)), Priority.INTERACTIVE
    batch = request.priority == translation_pb.PRIORITY_BATCH
    return request.contents, Priority.BATCH if batch else Priority.INTERACTIVE


class SheddingInterceptor(Interceptor):
    """Refuses calls for which there is no room or no time; the outermost interceptor."""

    def __init__(self, shedding: Shedding) -> None:
        self._shedding = shedding
        self._handlers: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the method's handler, which may refuse before anything else."""
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler: Handler | None = await continuation(handler_call_details)
        if handler is None:  # no such method: grpc answers UNIMPLEMENTED
            return handler  # type: ignore[return-value]
        if method in SHED:
            handler = self._wrapped(handler, method)
        self._handlers[method] = handler  # as many as there are methods
        return handler

    def _wrapped(self, handler: Handler, method: str) -> Handler:
        read, write = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary is not None:
            behaviour = self._first(handler.unary_unary, method, "unary")
            return grpc.unary_unary_rpc_method_handler(behaviour, read, write)
        assert handler.unary_stream is not None
        stream = self._first(handler.unary_stream, method, "server_stream")
        return grpc.unary_stream_rpc_method_handler(stream, read, write)

    def _first(self, inner: Callable[..., Any], method: str, kind: str) -> Callable[..., Any]:
        shedding, count = self._shedding, _Counted(self._shedding, method, kind)

        async def behaviour(request: Any, context: Context) -> Any:
            left: float | None = context.time_remaining()
            deadline = None if left is None else time.monotonic() + left
            found = shedding.refusal(request, lambda: _headers(context), deadline)
            if found is None:
                return await inner(request, context)
            error, tenant = found
            with count.refused(error, tenant):
                delay = shedding.delay(error, deadline)
                if delay > 0:
                    await asyncio.sleep(delay)
                await abort(context, error)

        return behaviour


class _Counted:
    """Counts the refusals of one method as the interceptors behind would have."""

    def __init__(self, shedding: Shedding, method: str, kind: str) -> None:
        self._metrics = metrics = shedding.metrics
        self._calls = shedding.calls
        self._access = shedding.access
        self._method = method.lstrip("/")
        service, name = self._method.split("/", 1)
        self._series = MethodSeries(metrics, (kind, service, name))
        self._rejected = cache(metrics.rejected.labels)  # as many as there are reasons

    @contextmanager
    def refused(self, error: HubError, tenant: str) -> Iterator[None]:
        """Count a call that is being refused; it is in progress until it has been told."""
        began = time.monotonic()
        self._series.started.inc()
        self._rejected(error.reason).inc()
        self._access.refused(self._method, error, tenant)
        observe_tenant(self._metrics, tenant, error.code)
        self._calls.begin()
        try:
            yield
        finally:
            self._calls.end()
            self._series.handled(error.code).inc()
            if self._series.seconds is not None:
                self._series.seconds.observe(time.monotonic() - began)


def _headers(context: Context) -> dict[str, str]:
    pairs = context.invocation_metadata() or ()
    return {key: value for key, value in pairs if isinstance(value, str)}
