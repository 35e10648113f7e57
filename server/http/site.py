"""The whole HTTP door as one ASGI application."""

from __future__ import annotations

import time

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from server.entrance import Entrance
from server.http import deepl, health, libretranslate, spec
from server.http.protection import SafetyHeaders
from server.http.shelf import MAX_BYTES, MAX_SHARE, RECORD_BYTES, Shelf
from server.web import site as web

PREFLIGHT_SECONDS = 600


def open_site(entrance: Entrance) -> ASGIApp:
    """Return the application that serves every HTTP API, and the page.

    Args:
        entrance: What all doors share.
    """
    site = Starlette(
        routes=_routes(entrance),
        middleware=_middleware(entrance),
        exception_handlers={HTTPException: _no_route},
    )
    site.router.redirect_slashes = False
    return SafetyHeaders(site, encrypted=entrance.settings.tls_cert is not None)


def _routes(entrance: Entrance) -> list[BaseRoute]:
    """Return every route; a door that serves something new adds its line here."""
    shelf = _shelf(entrance)
    served = [
        *health.routes(entrance),
        *libretranslate.routes(entrance, shelf),
        *deepl.routes(entrance, shelf),
    ]
    # What the page asks is its own business, which the document leaves out.
    return [*served, *spec.routes(entrance, served), *web.routes(entrance)]


def _shelf(entrance: Entrance) -> Shelf:
    """Return the shelf of all doors; who asks nobody has one tenant, and it has all of it."""
    largest = int(entrance.settings.max_upload_bytes) + RECORD_BYTES
    whole = max(MAX_BYTES, largest)
    share = max(MAX_SHARE, largest) if entrance.guard.asks else whole
    return Shelf(time.monotonic, whole, share)


def _middleware(entrance: Entrance) -> list[Middleware]:
    """Return what lets pages of other sites call: nothing by default."""
    origins = entrance.settings.http_origins
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=[one.rstrip("/") for one in origins],
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type", "x-request-id", "traceparent"],
            expose_headers=["x-request-id", "retry-after"],
            max_age=PREFLIGHT_SECONDS,
        )
    ]


async def _no_route(request: Request, error: Exception) -> Response:
    """Refuse a path or a method that nothing serves, in words that clients of each API read."""
    assert isinstance(error, HTTPException)
    told = f"{error.detail}: {request.method} on this path is not served; GET /spec lists what is"
    headers = dict(error.headers or {})
    return JSONResponse({"message": told, "error": told}, error.status_code, headers)
