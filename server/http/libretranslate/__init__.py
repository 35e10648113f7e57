"""LibreTranslate's API (https://docs.libretranslate.com), for the clients that speak it."""

from __future__ import annotations

from dataclasses import replace

from starlette.routing import BaseRoute

from server.entrance import Entrance
from server.http.documents import upload_body
from server.http.endpoint import Operation, routes_of
from server.http.libretranslate.api import LibreTranslateApi
from server.http.libretranslate.files import Files
from server.http.libretranslate.schemas import REPLIES, REQUESTS
from server.http.libretranslate.settings import frontend_settings
from server.http.libretranslate.translation import detect, languages, suggest, translate
from server.http.shelf import Shelf

__all__ = ["routes"]


def routes(entrance: Entrance, shelf: Shelf) -> list[BaseRoute]:
    """Return the routes of LibreTranslate's API, whose files are on a shelf."""
    files = Files(shelf)
    whole = upload_body(entrance.settings)
    operations = (
        Operation("/translate", ("POST",), "Translate", translate, texts="q"),
        Operation("/detect", ("POST",), "Detect", detect, texts="q"),
        Operation("/languages", ("GET",), "Languages", languages),
        Operation("/suggest", ("POST",), "Suggest", suggest, texts="s"),
        Operation("/translate_file", ("POST",), "TranslateFile", files.translate, max_body=whole),
        Operation("/download_file/{filename}", ("GET",), "DownloadFile", files.download),
        Operation("/frontend/settings", ("GET",), "Settings", frontend_settings),
    )
    told = tuple(
        replace(one, takes=REQUESTS.get(one.name), reply=REPLIES[one.name]) for one in operations
    )
    return [*routes_of(entrance, LibreTranslateApi(), told)]
