"""The boundary: every call is counted, and every error leaves as a proper status.

Left to itself, grpc.aio answers a malformed message, invalid UTF-8 and any exception of a handler
with UNKNOWN and the exception's text. So both are wrapped here: the deserializer, whose failure
becomes a value that the handler's wrapper recognises, and the handler.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio

from hub.errors import DrainingError, HubError, InputError
from server.faults import as_hub_error
from server.grpc.status import abort
from server.telemetry.calls import current_call
from server.telemetry.metrics import Metrics
from server.telemetry.observation import observe_tenant
from server.telemetry.traces import current_trace

if TYPE_CHECKING:  # generic in the stubs alone
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
    Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    Interceptor = grpc.aio.ServerInterceptor


class _Malformed:
    """Stands for a request that could not be read."""


class Calls:
    """The calls in progress; drained before the server stops.

    Attributes:
        begun: Calls that ever began, those that were refused included.
        refusing: Whether new calls are told to go elsewhere.
    """

    def __init__(self) -> None:
        self.begun = 0
        self.refusing = False
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self) -> None:
        """Note that a call began."""
        self.begun += 1
        self._count += 1
        self._idle.clear()

    def check(self) -> None:
        """Refuse a call that has just begun, while the server drains.

        Raises:
            DrainingError: It drains.
        """
        if self.refusing:
            raise DrainingError("the server is shutting down; send the request to another")

    def end(self) -> None:
        """Note that a call ended."""
        self._count -= 1
        if not self._count:
            self._idle.set()

    @property
    def idle(self) -> bool:
        """Tell whether no call is in progress."""
        return not self._count

    async def wait_idle(self) -> None:
        """Wait until no call is in progress."""
        await self._idle.wait()


class BoundaryInterceptor(Interceptor):
    """Wraps every method of every service, standard ones included."""

    def __init__(self, metrics: Metrics, calls: Calls) -> None:
        self._metrics = metrics
        self._calls = calls

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the method's handler, wrapped."""
        handler: Handler | None = await continuation(handler_call_details)
        if handler is None:  # no such method: grpc answers UNIMPLEMENTED
            return handler  # type: ignore[return-value]
        _, service, method = handler_call_details.method.split("/", 2)
        boundary = _Boundary(self._metrics, self._calls, service, method)
        return boundary.wrap(handler)


class _Boundary:
    """The wrapping of one call."""

    def __init__(self, metrics: Metrics, calls: Calls, service: str, method: str) -> None:
        self._metrics = metrics
        self._calls = calls
        self._service = service
        self._method = method

    def wrap(self, handler: Handler) -> Handler:
        """Return the handler with deserializer and behaviour guarded."""
        read = _guarded(handler.request_deserializer)
        write = handler.response_serializer
        if handler.unary_unary is not None:
            behaviour = self._unary_unary(handler.unary_unary)
            return grpc.unary_unary_rpc_method_handler(behaviour, read, write)
        if handler.unary_stream is not None:
            stream = self._streaming(handler.unary_stream, "server_stream")
            return grpc.unary_stream_rpc_method_handler(stream, read, write)
        if handler.stream_stream is not None:
            both = self._streaming(handler.stream_stream, "bidi_stream")
            return grpc.stream_stream_rpc_method_handler(both, read, write)
        return handler

    def _unary_unary(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        calls = self._drained()

        async def behaviour(request: object, context: Context) -> object:
            with _Count(self._metrics, calls, ("unary", self._service, self._method)) as call:
                try:
                    if calls is not None:
                        calls.check()
                    if isinstance(request, _Malformed):
                        raise _malformed()
                    return await inner(request, context)
                except asyncio.CancelledError:
                    call.code = _cancellation(context)
                    raise
                except Exception as error:
                    await self._fail(error, call, context)

        return behaviour

    def _streaming(self, inner: Callable[..., Any], kind: str) -> Callable[..., Any]:
        """Wrap a method that streams replies."""
        calls = self._drained()

        async def behaviour(request: Any, context: Context) -> None:
            with _Count(self._metrics, calls, (kind, self._service, self._method)) as call:
                try:
                    if calls is not None:
                        calls.check()
                    if isinstance(request, _Malformed):
                        raise _malformed()
                    requests = _checked(request) if hasattr(request, "__aiter__") else request
                    replies = inner(requests, context)
                    if inspect.isasyncgen(replies):
                        async for reply in replies:
                            await context.write(reply)
                    else:
                        await replies
                except asyncio.CancelledError:
                    call.code = _cancellation(context)
                    raise
                except Exception as error:
                    await self._fail(error, call, context)

        return behaviour

    def _drained(self) -> Calls | None:
        """Return where to count the call; not where it is no work: a health watch stays open."""
        return self._calls if self._service.startswith("adapterhub.") else None

    async def _fail(self, error: Exception, call: _Count, context: Context) -> NoReturn:
        if isinstance(error, grpc.aio.AbortError):  # the handler chose a status itself
            call.code = grpc.StatusCode(context.code()).name
            raise error
        hub_error = as_hub_error(error, f"serving {self._service}/{self._method}")
        call.code = hub_error.code
        self._metrics.rejected.labels(hub_error.reason).inc()
        await abort(context, hub_error)


class _Count:
    """Counts one call from begin to end."""

    def __init__(self, metrics: Metrics, calls: Calls | None, labels: tuple[str, str, str]) -> None:
        self.code = "OK"
        self._metrics = metrics
        self._calls = calls
        self._labels = labels
        self._began = 0.0

    def __enter__(self) -> _Count:
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


def _guarded(read: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if read is None:
        return None

    def guarded(data: bytes) -> Any:
        try:
            return read(data)
        except Exception:  # protobuf's DecodeError, and whatever else a parser may raise
            return _Malformed()

    return guarded


async def _checked(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        if isinstance(request, _Malformed):
            raise _malformed()
        yield request


def _malformed() -> HubError:
    return InputError(
        "the request is not a valid message: it is cut off, is of another type, or has a text "
        "that is not UTF-8"
    )


def _cancellation(context: Context) -> str:
    remaining: float | None = context.time_remaining()
    return "DEADLINE_EXCEEDED" if remaining is not None and remaining <= 0 else "CANCELLED"
