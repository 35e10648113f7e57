"""What is the same for all of LibreTranslate's operations: keys, errors, languages' codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hub.errors import HubError
from server.http.bodies import Fields
from server.http.statuses import status_of

AUTO: Final = "auto"
_CODES: Final[Mapping[str, str]] = MappingProxyType({"pb": "pt-BR", "zt": "zh-Hant"})
"""Codes of theirs that are no language tags."""


@dataclass(frozen=True, slots=True)
class LibreTranslateApi:
    """LibreTranslate's ways: the key is the field `api_key`, an error is `{"error": "…"}`."""

    service: str = "http.LibreTranslate"
    key_in_body: bool = True

    def headers(self, request: Request, fields: Fields) -> Mapping[str, str]:
        """Return the headers, the field `api_key` among them as a bearer key."""
        headers = dict(request.headers)
        key = fields.text("api_key")
        return {**headers, "authorization": f"Bearer {key}"} if key else headers

    def refusal(self, error: HubError) -> Response:
        """Return an error as LibreTranslate has it, which answers 403 where there is no key."""
        status = status_of(error)
        return JSONResponse({"error": error.message}, 403 if status == 401 else status)


def tag_of(code: str) -> str:
    """Return the language tag of a code, "" for the one that leaves it to be detected."""
    text = code.strip()
    return "" if text.lower() == AUTO else _CODES.get(text.lower(), text)
