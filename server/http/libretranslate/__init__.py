"""LibreTranslate's API (https://docs.libretranslate.com), for the clients that speak it."""

from __future__ import annotations

from starlette.routing import BaseRoute

from server.entrance import Entrance
from server.http.endpoint import Operation, routes_of
from server.http.libretranslate.api import LibreTranslateApi
from server.http.libretranslate.translation import detect, languages, translate

__all__ = ["routes"]


def routes(entrance: Entrance) -> list[BaseRoute]:
    """Return the routes of LibreTranslate's API."""
    operations = (
        Operation("/translate", ("POST",), "Translate", translate, texts="q"),
        Operation("/detect", ("POST",), "Detect", detect, texts="q"),
        Operation("/languages", ("GET",), "Languages", languages),
    )
    return [*routes_of(entrance, LibreTranslateApi(), operations)]
