"""Opens a trace around each call, outside of everything else that wraps it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from server.telemetry.traces import CallTracer, tracing

if TYPE_CHECKING:  # generic in the stubs alone
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
    Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    Interceptor = grpc.aio.ServerInterceptor

UNTRACED: Final = ("grpc.health.", "grpc.reflection.")
"""Asked every few seconds by whoever watches the server, or for as long as it runs."""


class TracingInterceptor(Interceptor):
    """Traces every method of the server's own services.

    It must stand before `BoundaryInterceptor`, which makes every behaviour a coroutine.
    """

    def __init__(self, tracer: CallTracer) -> None:
        self._tracer = tracer

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the method's handler, traced."""
        handler: Handler | None = await continuation(handler_call_details)
        method = handler_call_details.method.removeprefix("/")
        if handler is None or method.startswith(UNTRACED):
            return handler  # type: ignore[return-value]
        return self._traced(handler, method)

    def _traced(self, handler: Handler, method: str) -> Handler:
        read, write = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary is not None:
            behaviour = self._around(handler.unary_unary, method)
            return grpc.unary_unary_rpc_method_handler(behaviour, read, write)
        if handler.unary_stream is not None:
            behaviour = self._around(handler.unary_stream, method)
            return grpc.unary_stream_rpc_method_handler(behaviour, read, write)
        return handler

    def _around(self, inner: Callable[..., Any], method: str) -> Callable[..., Any]:
        async def behaviour(request: object, context: Context) -> object:
            headers = context.invocation_metadata() or ()
            with self._tracer.call(method, headers) as trace, tracing(trace):
                return await inner(request, context)

        return behaviour


def tracing_of(tracer: CallTracer | None) -> list[Interceptor]:
    """Return the interceptors that tracing takes: none where it is off."""
    return [] if tracer is None else [TracingInterceptor(tracer)]
