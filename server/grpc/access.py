"""The access log's place at the gRPC door: outside of everything else that a call passes.

It has to be the first interceptor, so that it also sees calls that others refuse.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from server.telemetry.access import AccessLog
from server.telemetry.calls import CallRecord

if TYPE_CHECKING:  # generic in the stubs alone
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
    Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    Interceptor = grpc.aio.ServerInterceptor


class AccessInterceptor(Interceptor):
    """Writes the access log's line of every call."""

    def __init__(self, log: AccessLog) -> None:
        self._log = log

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the method's handler, wrapped."""
        handler: Handler | None = await continuation(handler_call_details)
        method = handler_call_details.method.lstrip("/")
        read = getattr(handler, "request_deserializer", None)
        write = getattr(handler, "response_serializer", None)
        if handler is None:  # no such method: grpc answers UNIMPLEMENTED
            return handler  # type: ignore[return-value]
        if handler.unary_unary is not None:
            behaviour = self._unary(handler.unary_unary, method)
            return grpc.unary_unary_rpc_method_handler(behaviour, read, write)
        if handler.unary_stream is not None:
            stream = self._streaming(handler.unary_stream, method)
            return grpc.unary_stream_rpc_method_handler(stream, read, write)
        if handler.stream_stream is not None:
            both = self._streaming(handler.stream_stream, method)
            return grpc.stream_stream_rpc_method_handler(both, read, write)
        return handler

    def _unary(self, inner: Callable[..., Any], method: str) -> Callable[..., Any]:
        async def behaviour(request: object, context: Context) -> object:
            with self._call(method, context):
                return await inner(request, context)

        return behaviour

    def _streaming(self, inner: Callable[..., Any], method: str) -> Callable[..., Any]:
        async def behaviour(request: object, context: Context) -> None:
            with self._call(method, context):
                replies = inner(request, context)
                if inspect.isasyncgen(replies):
                    async for reply in replies:
                        await context.write(reply)
                else:
                    await replies

        return behaviour

    @contextmanager
    def _call(self, method: str, context: Context) -> Iterator[CallRecord]:
        metadata = {
            key: value
            for key, value in context.invocation_metadata() or ()
            if isinstance(value, str)
        }
        with self._log.call(method, metadata) as record:
            try:
                yield record
            except asyncio.CancelledError:
                left: float | None = context.time_remaining()
                late = left is not None and left <= 0
                record.code = "DEADLINE_EXCEEDED" if late else "CANCELLED"
                raise
            except BaseException:
                code = context.code()
                record.code = grpc.StatusCode(code).name if code else "UNKNOWN"
                raise
