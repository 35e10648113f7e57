"""The guard at the gRPC door: no method is reached without the scope that it asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from server.access.guard import Guard
from server.access.scopes import OPEN, SCOPE_OF_METHOD

if TYPE_CHECKING:  # generic in the stubs alone
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
    Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    Interceptor = grpc.aio.ServerInterceptor


class AuthorizationInterceptor(Interceptor):
    """Denies by default; inside of `BoundaryInterceptor`, which turns its errors into statuses."""

    def __init__(self, guard: Guard) -> None:
        """Take the guard of all doors."""
        self._guard = guard

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the method's handler, guarded."""
        handler: Handler | None = await continuation(handler_call_details)
        method = handler_call_details.method.lstrip("/")
        if handler is None:  # no such method: grpc answers UNIMPLEMENTED
            return handler  # type: ignore[return-value]
        if SCOPE_OF_METHOD.get(method) == OPEN:
            return handler
        read, write = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary is not None:
            unary = self._unary(handler.unary_unary, method)
            return grpc.unary_unary_rpc_method_handler(unary, read, write)
        if handler.unary_stream is not None:
            stream = self._streaming(handler.unary_stream, method)
            return grpc.unary_stream_rpc_method_handler(stream, read, write)
        if handler.stream_unary is not None:
            unary = self._unary(handler.stream_unary, method)
            return grpc.stream_unary_rpc_method_handler(unary, read, write)
        assert handler.stream_stream is not None
        stream = self._streaming(handler.stream_stream, method)
        return grpc.stream_stream_rpc_method_handler(stream, read, write)

    def _unary(self, inner: Callable[..., Any], method: str) -> Callable[..., Any]:
        async def behaviour(request: Any, context: Context) -> object:
            await self._pass(method, request, context)
            return await inner(request, context)

        return behaviour

    def _streaming(self, inner: Callable[..., Any], method: str) -> Callable[..., Any]:
        async def behaviour(request: Any, context: Context) -> Any:
            await self._pass(method, request, context)
            replies = inner(request, context)
            if not hasattr(replies, "__aiter__"):
                await replies
                return
            async for reply in replies:
                yield reply

        return behaviour

    async def _pass(self, method: str, request: Any, context: Context) -> None:
        """Let a call through, in the name of its caller; raises as `Guard.admit`."""
        pairs = context.invocation_metadata() or ()
        headers = {key: value for key, value in pairs if isinstance(value, str)}
        await self._guard.admit(method, headers, _characters(request))


def _characters(request: Any) -> int:
    """Return how many characters of text a request brings."""
    contents = getattr(request, "contents", None) or (getattr(request, "content", ""),)
    texts = sum(map(len, contents))
    return texts + sum(
        len(one.source_text) + len(one.translated_text) + len(one.post_edited_text)
        for one in getattr(request, "post_edits", ())
    )
