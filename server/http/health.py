"""Whether the server lives, and whether it serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from hub.errors import HubError
from server.entrance import Entrance
from server.http.bodies import Fields
from server.http.endpoint import Call, Operation, routes_of
from server.http.schemas import TEXT, Schema, record
from server.http.statuses import status_of

_STATUS: Final = record("status", status=TEXT)


@dataclass(frozen=True, slots=True)
class HealthApi:
    """Answers probes, which have no credentials."""

    service: str = "http.Health"
    key_in_body: bool = False

    @property
    def error_schema(self) -> Schema:
        """Return the schema of an error."""
        return record("status", "error", status=TEXT, error=TEXT)

    def headers(self, request: Request, fields: Fields) -> Mapping[str, str]:
        """Return the headers as they are."""
        return dict(request.headers)

    def refusal(self, error: HubError) -> Response:
        """Say why not."""
        return JSONResponse({"status": "not serving", "error": error.message}, status_of(error))


async def live(call: Call) -> Response:
    """Say that the process answers."""
    return JSONResponse({"status": "ok"})


async def ready(call: Call) -> Response:
    """Say that requests are served: base loaded, engine well, and nobody is stopping."""
    call.entrance.calls.check()
    call.core.worker.check()
    return JSONResponse({"status": "ok"})


def routes(entrance: Entrance) -> list[BaseRoute]:
    """Return the routes of probes; /health is LibreTranslate's name for the second."""
    operations = (
        Operation("/livez", ("GET",), "Live", live, reply=_STATUS),
        Operation("/readyz", ("GET",), "Ready", ready, reply=_STATUS),
        Operation("/health", ("GET",), "Ready", ready, reply=_STATUS),
    )
    return [*routes_of(entrance, HealthApi(), operations)]
