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

from hub.errors import HubError, InputError
from server.draining import Calls
from server.faults import as_hub_error
from server.grpc.status import abort
from server.telemetry.counting import CallCount, MethodSeries
from server.telemetry.metrics import Metrics

if TYPE_CHECKING:  # generic in the stubs alone
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
    Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    Interceptor = grpc.aio.ServerInterceptor


class _Malformed:
    """Stands for a request that could not be read."""


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
    """The wrapping of one method."""

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
        calls, series = self._drained(), self._series("unary")

        async def behaviour(request: object, context: Context) -> object:
            with CallCount(series, calls) as call:
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
        calls, series = self._drained(), self._series(kind)

        async def behaviour(request: Any, context: Context) -> None:
            with CallCount(series, calls) as call:
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

    def _series(self, kind: str) -> MethodSeries:
        return MethodSeries(self._metrics, (kind, self._service, self._method))

    def _drained(self) -> Calls | None:
        """Return where to count the call; not where it is no work: a health watch stays open."""
        return self._calls if self._service.startswith(("adapterhub.", "google.")) else None

    async def _fail(self, error: Exception, call: CallCount, context: Context) -> NoReturn:
        if isinstance(error, grpc.aio.AbortError):  # the handler chose a status itself
            call.code = grpc.StatusCode(context.code()).name
            raise error
        hub_error = as_hub_error(error, f"serving {self._service}/{self._method}")
        call.code = hub_error.code
        self._metrics.rejected.labels(hub_error.reason).inc()
        await abort(context, hub_error)


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
