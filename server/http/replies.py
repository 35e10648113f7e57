"""Replies that are not JSON."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from server.http.shelf import ShelvedDocument

LEFT: Final = "x-adapterhub-texts-left"
"""Header with the texts that stayed as they were, because their markup could not be put back."""


def attachment(document: ShelvedDocument) -> Response:
    """Return a document that a browser saves and never shows."""
    headers = {"content-disposition": 'attachment; filename="document"'}
    if document.left:
        headers[LEFT] = str(document.left)
    return Response(document.data, media_type="application/octet-stream", headers=headers)
