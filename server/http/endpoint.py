"""A request on its way: counted, traced, logged, admitted, then answered or refused.

What the interceptors are to gRPC. A handler raises a HubError and never catches one; its API turns
it into a reply of its own shape. A caller that hangs up withdraws what it asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import Protocol, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from hub.errors import HubError
from server.access.scopes import OPEN, SCOPE_OF_METHOD
from server.core import Core
from server.entrance import Entrance
from server.faults import as_hub_error
from server.http.bodies import Fields, Inbox, read_fields
from server.http.leaving import Leaving
from server.http.protection import BrowserPolicy
from server.http.schemas import Schema
from server.http.statuses import retry_after
from server.telemetry.calls import CallRecord, note_error
from server.telemetry.counting import CallCount, MethodSeries
from server.telemetry.traces import tracing

_Result = TypeVar("_Result")


class Api(Protocol):
    """Somebody's API, as far as it is the same for all of its operations."""

    @property
    def service(self) -> str:
        """Its name in the table of scopes, logs and metrics: "http.LibreTranslate"."""

    @property
    def key_in_body(self) -> bool:
        """Tell whether callers may send their key as a field."""

    @property
    def error_schema(self) -> Schema:
        """Return the schema of an error."""

    def headers(self, request: Request, fields: Fields) -> Mapping[str, str]:
        """Return the headers by lower-case name, with the caller's key where ours would be."""

    def refusal(self, error: HubError) -> Response:
        """Tell a caller of an error."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was let in.

    Attributes:
        fields: What it says.
    """

    entrance: Entrance
    request: Request
    fields: Fields

    @property
    def core(self) -> Core:
        """Return what is served.

        Raises:
            UnavailableError: The base is still being loaded.
        """
        return self.entrance.core()

    async def off_loop(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        """Run what blocks on a thread, in the name of the same caller."""
        return await self._run_in(self.entrance.pool, function, *arguments)

    async def with_file(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        """Run what reads or writes a file on a thread for that, likewise."""
        return await self._run_in(self.entrance.files, function, *arguments)

    async def _run_in(
        self, pool: Executor, function: Callable[..., _Result], *arguments: object
    ) -> _Result:
        run: Callable[..., _Result] = copy_context().run
        return await asyncio.get_running_loop().run_in_executor(pool, run, function, *arguments)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of an API.

    Attributes:
        path: As of a Starlette route.
        verbs: HTTP methods.
        name: In the table of scopes, logs and metrics.
        handle: Answers.
        texts: Name of the field whose characters count towards the caller's quota.
        awaited: Whether a server that stops waits for it; not for a stream that stays open at will.
        max_body: Bytes; None for those of the settings.
        takes: Schema of the fields of a request, None where there are none.
        reply: Schema of a reply, None where it is empty.
        status: Of a reply.
    """

    path: str
    verbs: tuple[str, ...]
    name: str
    handle: Callable[[Call], Awaitable[Response]]
    texts: str = ""
    awaited: bool = True
    max_body: int | None = None
    takes: Schema | None = None
    reply: Schema | None = None
    status: int = 200


def routes_of(entrance: Entrance, api: Api, operations: tuple[Operation, ...]) -> list[Route]:
    """Return Starlette's routes to the operations of an API."""
    return [
        Route(one.path, Endpoint(entrance, api, one), methods=list(one.verbs)) for one in operations
    ]


class Endpoint:
    """An ASGI application that answers one operation.

    Attributes:
        api: Whose it is.
        operation: Which.
    """

    def __init__(self, entrance: Entrance, api: Api, operation: Operation) -> None:
        self._entrance = entrance
        self.api = api
        self.operation = operation
        self._method = f"{api.service}/{operation.name}"
        self._open = SCOPE_OF_METHOD.get(self._method) == OPEN
        self._limit = operation.max_body or int(entrance.settings.max_message_bytes)
        self._browsers = BrowserPolicy.of(entrance.settings, asks=entrance.guard.asks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        inbox = Inbox(receive, self._limit, self._entrance.bodies)
        request = Request(scope, inbox)
        headers = dict(request.headers)
        with self._watched(headers) as (record, count):
            leaving = Leaving(inbox, send)
            try:
                response = await self._answer(request, leaving, count)
                response.headers.setdefault("x-request-id", record.request_id)
                await response(scope, leaving.receive, leaving.send)
            except asyncio.CancelledError:
                count.code = record.code = "CANCELLED"
                leaving.settle()
            except Exception as error:  # while the reply was on its way: the connection is closed
                found = as_hub_error(error, f"answering {self._method}")
                count.code = record.code = found.code
            finally:
                leaving.close()
                inbox.close()

    @contextmanager
    def _watched(self, headers: Mapping[str, str]) -> Iterator[tuple[CallRecord, CallCount]]:
        """Trace, log and count a request within the block."""
        entrance = self._entrance
        calls = entrance.calls if self.operation.awaited and not self._open else None
        labels = ("unary", self.api.service, self.operation.name)
        with ExitStack() as around:
            if entrance.tracer is not None and not self._open:
                trace = around.enter_context(entrance.tracer.call(self._method, headers.items()))
                around.enter_context(tracing(trace))
            record = around.enter_context(entrance.access.call(self._method, headers))
            yield (
                record,
                around.enter_context(CallCount(MethodSeries(entrance.metrics, labels), calls)),
            )

    async def _answer(self, request: Request, leaving: Leaving, count: CallCount) -> Response:
        try:
            return await self.operation.handle(await self._admit(request, leaving))
        except Exception as error:
            found = as_hub_error(error, f"serving {self._method}")
            count.code = found.code
            self._entrance.metrics.rejected.labels(found.reason).inc()
            note_error(found)
            response = self.api.refusal(found)
            if (seconds := retry_after(found)) is not None:
                response.headers.setdefault("retry-after", str(seconds))
            return response

    async def _admit(self, request: Request, leaving: Leaving) -> Call:
        """Read a request and let it in, in the name of its caller.

        A caller that is nobody is refused before its body is read, where its key is no part of it.
        """
        entrance, guard = self._entrance, self._entrance.guard
        self._browsers.check(request)
        if self._open:
            fields = await read_fields(request, self._limit)
            leaving.watch()
            return Call(entrance, request, fields)
        entrance.calls.check()
        headers = self.api.headers(request, Fields())
        early = "authorization" in headers or not self.api.key_in_body
        identity = await guard.identify(self._method, headers) if early else None
        fields = await read_fields(request, self._limit)
        leaving.watch()
        if not early:
            headers = self.api.headers(request, fields)
            identity = await guard.identify(self._method, headers)
        guard.enter(identity, fields.characters(self.operation.texts))
        return Call(entrance, request, fields)
