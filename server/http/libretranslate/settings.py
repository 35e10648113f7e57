"""/frontend/settings: what a page on top of the API has to know."""

from __future__ import annotations

from typing import Final

from starlette.responses import JSONResponse, Response

from hub.documents import formats
from hub.feedback.location import OFF
from server.http.endpoint import Call
from server.http.languages import language_name

_TYPING_MILLISECONDS: Final = 500
"""A page waits so long after the last key, as LibreTranslate's own does."""


async def frontend_settings(call: Call) -> Response:
    """Tell limits, formats and the languages to begin with."""
    core, asks = call.core, call.entrance.guard.asks
    languages = sorted(core.translator.router.languages)
    source = "en" if "en" in languages else languages[0]
    target = next((one for one in languages if one != source), source)
    return JSONResponse(
        {
            "apiKeys": asks,
            "keyRequired": asks,
            "charLimit": core.translator.limits.max_content_characters,
            "filesTranslation": True,
            "supportedFilesFormat": [one for found in formats() for one in found.suffixes],
            "frontendTimeout": _TYPING_MILLISECONDS,
            "suggestions": call.entrance.settings.feedback_url != OFF,
            "language": {
                "source": {"code": source, "name": language_name(source)},
                "target": {"code": target, "name": language_name(target)},
            },
        }
    )
