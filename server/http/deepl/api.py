"""What is the same for all of DeepL's operations: keys and errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hub.errors import HubError
from server.http.bodies import Fields
from server.http.deepl.schemas import ERROR
from server.http.schemas import Schema
from server.http.statuses import status_of

SCHEME: Final = "deepl-auth-key"
_STATUSES: Final[Mapping[int, int]] = MappingProxyType({401: 403, 415: 400, 409: 400, 507: 429})
"""What DeepL answers where others have a status of its own."""


@dataclass(frozen=True, slots=True)
class DeepLApi:
    """DeepL's ways: `Authorization: DeepL-Auth-Key KEY`, an error is `{"message": "…"}`."""

    service: str = "http.DeepL"
    key_in_body: bool = False

    @property
    def error_schema(self) -> Schema:
        """Return the schema of an error."""
        return ERROR

    def headers(self, request: Request, fields: Fields) -> Mapping[str, str]:
        """Return the headers, DeepL's key as a bearer key."""
        headers = dict(request.headers)
        scheme, _, key = headers.get("authorization", "").partition(" ")
        return (
            {**headers, "authorization": f"Bearer {key}"} if scheme.lower() == SCHEME else headers
        )

    def refusal(self, error: HubError) -> Response:
        """Return an error as DeepL has it."""
        status = status_of(error)
        body = {"message": error.message, "detail": error.reason}
        return JSONResponse(body, _STATUSES.get(status, status))
