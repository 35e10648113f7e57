"""What is the same for all of LibreTranslate's operations: keys, errors, codes of languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hub.errors import HubError, InputError, LanguageError
from server.core import Core
from server.http.bodies import Fields
from server.http.languages import served_tag
from server.http.libretranslate.schemas import ERROR
from server.http.schemas import Schema
from server.http.statuses import status_of

AUTO: Final = "auto"
_CODES: Final[Mapping[str, str]] = MappingProxyType({"pb": "pt-BR", "zt": "zh-Hant"})
"""Codes of theirs that are no language tags."""


@dataclass(frozen=True, slots=True)
class LibreTranslateApi:
    """LibreTranslate's ways: the key is the field `api_key`, an error is `{"error": "…"}`."""

    service: str = "http.LibreTranslate"
    key_in_body: bool = True

    @property
    def error_schema(self) -> Schema:
        """Return the schema of an error."""
        return ERROR

    def headers(self, request: Request, fields: Fields) -> Mapping[str, str]:
        """Return the headers, the field `api_key` among them as a bearer key."""
        headers = dict(request.headers)
        key = fields.text("api_key")
        return {**headers, "authorization": f"Bearer {key}"} if key else headers

    def refusal(self, error: HubError) -> Response:
        """Return an error as LibreTranslate has it, which answers 403 where there is no key."""
        status = status_of(error)
        return JSONResponse({"error": error.message}, 403 if status == 401 else status)


def require(fields: Fields, *names: str) -> None:
    """Refuse a request that lacks a field.

    Raises:
        InputError: Names the field.
    """
    for name in names:
        if not fields.values.get(name):
            raise InputError(f"Invalid request: missing {name} parameter", field=name)


def tag_of(core: Core, code: str) -> str:
    """Return the language tag of a code, "" for the one that leaves it to be detected.

    Raises:
        InputError: The language is not served.
    """
    text = code.strip()
    if text.lower() == AUTO:
        return ""
    try:
        return served_tag(core, _CODES.get(text.lower(), text))
    except LanguageError:
        raise InputError(f"{text[:20]} is not supported", field="source") from None
