"""The OpenAPI document of what is served over HTTP, made from the operations themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from hub import __version__
from server.access.scopes import OPEN, SCOPE_OF_METHOD
from server.entrance import Entrance
from server.http.endpoint import Call, Endpoint, Operation, routes_of
from server.http.forms import PARTS, URLENCODED
from server.http.health import HealthApi
from server.http.schemas import FILE, Schema

VERSION: Final = "3.1.0"
_BODIES: Final = ("POST", "PUT", "PATCH")
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_JSON: Final = "application/json"
_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "deepl": {
        "type": "apiKey", "in": "header", "name": "Authorization",
        "description": "DeepL-Auth-Key KEY",
    },
}  # fmt: skip


def document_of(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """Return the OpenAPI document of the endpoints among some routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if isinstance(route, Route) and isinstance(route.endpoint, Endpoint):
            endpoint = route.endpoint
            for verb in endpoint.operation.verbs:
                told = _operation(endpoint, verb)
                paths.setdefault(route.path, {})[verb.lower()] = told
    return {
        "openapi": VERSION,
        "info": {"title": "Adapter hub", "version": __version__},
        "paths": dict(sorted(paths.items())),
        "components": {"securitySchemes": _SECURITY},
    }


def _operation(endpoint: Endpoint, verb: str) -> dict[str, Any]:
    operation, api = endpoint.operation, endpoint.api
    summary = (operation.handle.__doc__ or "").strip().partition("\n")[0]
    told: dict[str, Any] = {
        "summary": summary,
        "tags": [api.service.removeprefix("http.")],
        "operationId": _identifier(operation, verb),
        "parameters": [_path_parameter(name) for name in _PARAMETER.findall(operation.path)],
        "responses": {
            str(operation.status): _response(operation.reply),
            "default": {
                "description": "An error; the status says which kind.",
                "content": {_JSON: {"schema": api.error_schema}},
            },
        },
    }
    if SCOPE_OF_METHOD.get(f"{api.service}/{operation.name}") != OPEN:
        told["security"] = [{one: []} for one in _SECURITY] + [{}]
    if operation.takes is not None:
        if verb in _BODIES:
            told["requestBody"] = {"content": _contents(operation.takes)}
        else:
            told["parameters"] += _query(operation.takes)
    return told


def _identifier(operation: Operation, verb: str) -> str:
    words = re.findall(r"\w+", operation.path.replace("{", "").replace("}", ""))
    return verb.lower() + "".join(word[:1].upper() + word[1:] for word in words)


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query(takes: Schema) -> list[dict[str, Any]]:
    required = takes.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in takes["properties"].items()
    ]


def _contents(takes: Schema) -> dict[str, Any]:
    """Return the media types of a body: a file takes a form of parts."""
    if FILE in takes["properties"].values():
        return {PARTS: {"schema": takes}}
    return {kind: {"schema": takes} for kind in (_JSON, URLENCODED, PARTS)}


def _response(reply: Schema | None) -> dict[str, Any]:
    if reply is None:
        return {"description": "Done."}
    kind = "application/octet-stream" if reply == FILE else _JSON
    if reply.get("contentMediaType"):
        kind = reply["contentMediaType"]
    return {"description": "Done.", "content": {kind: {"schema": reply}}}


@dataclass(frozen=True, slots=True)
class Spec:
    """The document of one server."""

    document: dict[str, Any]

    async def get(self, call: Call) -> Response:
        """Return this document."""
        return JSONResponse(self.document)


def routes(entrance: Entrance, served: Iterable[BaseRoute]) -> list[BaseRoute]:
    """Return the routes to the document of what is served: /spec is LibreTranslate's name."""
    spec = Spec(document_of(served))
    operations = (
        Operation("/spec", ("GET",), "Spec", spec.get),
        Operation("/openapi.json", ("GET",), "Spec", spec.get),
    )
    return [*routes_of(entrance, HealthApi(), operations)]
