"""The routes of the page and of what it asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from hub.errors import HubError
from server.access.identity import Identity, current_identity
from server.entrance import Entrance
from server.http.bodies import Fields
from server.http.endpoint import Call, Operation, routes_of
from server.http.schemas import Schema
from server.http.statuses import status_of
from server.http.translating import translate
from server.messages import LoadedAdapter, TranslateCommand
from server.telemetry.calls import note_command
from server.web.columns import confidence_of, translate_columns
from server.web.events import stream_of
from server.web.feedback import characters_of, correction_of
from server.web.files import INDEX, StaticFiles
from server.web.live import LiveBoard, Names, names_of
from server.web.requests import AskedAlternatives, AskedColumns, AskedCorrection, read
from server.web.views import adapters_view, page_view

_MAX_BODY: Final = 2**20
_ADMIN: Final = "admin"
_TEXT: Final[Schema] = {"type": "string"}


@dataclass(frozen=True, slots=True)
class PageApi:
    """The page's own ways: keys as bearer tokens, errors as `{"error": {"reason", "message"}}`."""

    service: str = "http.Page"
    key_in_body: bool = False

    @property
    def error_schema(self) -> Schema:
        """Return the schema of an error."""
        told = {"type": "object", "properties": dict.fromkeys(("reason", "message"), _TEXT)}
        return {"type": "object", "properties": {"error": told}}

    def headers(self, request: Request, fields: Fields) -> Mapping[str, str]:
        """Return the headers as they are."""
        return dict(request.headers)

    def refusal(self, error: HubError) -> Response:
        """Say why not."""
        told = {"reason": error.reason, "message": error.message}
        return JSONResponse({"error": told}, status_of(error))


@dataclass(frozen=True, slots=True)
class Page:
    """The handlers; one per server."""

    files: StaticFiles
    board: LiveBoard

    async def index(self, call: Call) -> Response:
        """Return the page."""
        return self.files.get(INDEX).reply(call.request)

    async def file(self, call: Call) -> Response:
        """Return one of the page's files."""
        return self.files.get(call.request.path_params["path"]).reply(call.request)

    async def page(self, call: Call) -> Response:
        """Return what there is to choose from."""
        core, identity = call.core, current_identity()
        loaded = await _loaded(call, identity)
        view = await call.off_loop(page_view, core, identity, loaded)
        return JSONResponse({**view, "messages": self.files.catalogues()})

    async def adapters(self, call: Call) -> Response:
        """Return adapters with all that is known of them."""
        identity = current_identity()
        loaded = await _loaded(call, identity)
        return JSONResponse(await call.off_loop(adapters_view, call.core, identity, loaded))

    async def translate(self, call: Call) -> Response:
        """Stream the sentences of every column."""
        asked = read(AskedColumns, call.fields)
        commands = [_for_caller(command) for command in asked.commands]
        call.entrance.guard.charge((len(commands) - 1) * len(asked.text))
        note_command(commands[0])
        return stream_of(translate_columns(call.core.translator, commands))

    async def alternatives(self, call: Call) -> Response:
        """Return what else could be said of one sentence, the best first."""
        asked = read(AskedAlternatives, call.fields)
        result = await translate(call.core, asked.search(call.core.translator.limits))
        item = result.items[0]
        if item.error is not None:
            raise item.error
        best = (item.text, item.signals.mean_log_probability)
        others = ((one.text, one.mean_log_probability) for one in item.alternatives)
        found = dict((best, *reversed(list(others))))  # a text that is said twice, once
        ranked = sorted(found.items(), key=lambda one: -one[1])
        return JSONResponse(
            {"alternatives": [{"text": t, "confidence": confidence_of(p)} for t, p in ranked]}
        )

    async def feedback(self, call: Call) -> Response:
        """Keep a correction."""
        asked = read(AskedCorrection, call.fields)
        call.entrance.guard.charge(characters_of(asked))
        made = await call.core.feedback.submit([correction_of(asked)], "", current_identity())
        return JSONResponse({"request_id": made.request_id})

    async def live(self, call: Call) -> Response:
        """Stream what the server does, once a second."""
        core = call.core
        self.board.check()

        async def resolve(digests: Iterable[str]) -> dict[str, str]:
            return await call.off_loop(names_of, core, digests)

        names = Names(current_identity().permit, resolve)
        return stream_of(self.board.watch(core, names, lambda: call.entrance.calls.refusing))


def _for_caller(command: TranslateCommand) -> TranslateCommand:
    """Return a command in the name of the current caller, with what it may use."""
    identity = current_identity()
    return replace(command, tenant=identity.tenant, permitted=identity.permit.patterns)


async def _loaded(call: Call, identity: Identity) -> dict[str, LoadedAdapter] | None:
    """Return what is in memory, None for a caller who may not see that."""
    if _ADMIN not in identity.scopes:
        return None
    found = await asyncio.wrap_future(call.core.worker.inspect())
    return {one.digest: one for one in found}


def routes(entrance: Entrance) -> list[BaseRoute]:
    """Return the routes of the page."""
    page = Page(StaticFiles.read(), LiveBoard(entrance.metrics))

    def get(path: str, name: str, handle: Callable[[Call], Awaitable[Response]]) -> Operation:
        return Operation(path, ("GET",), name, handle)

    def post(
        path: str, name: str, handle: Callable[[Call], Awaitable[Response]], texts: str = ""
    ) -> Operation:
        return Operation(path, ("POST",), name, handle, texts=texts, max_body=_MAX_BODY)

    operations = (
        get("/", "File", page.index),
        get("/static/{path:path}", "File", page.file),
        get("/api/page", "Page", page.page),
        get("/api/adapters", "Adapters", page.adapters),
        post("/api/translate", "Translate", page.translate, "text"),
        post("/api/alternatives", "Alternatives", page.alternatives, "text"),
        post("/api/feedback", "Feedback", page.feedback),
        Operation("/api/live", ("GET",), "Live", page.live, awaited=False),
    )
    return [*routes_of(entrance, PageApi(), operations)]
