"""/v2/usage: what the caller's tenant has sent since the server started."""

from __future__ import annotations

from typing import Final

from starlette.responses import JSONResponse, Response

from server.http.endpoint import Call

UNLIMITED: Final = 1_000_000_000_000
"""What DeepL itself tells where there is no limit; ours are on characters per minute."""


async def usage(call: Call) -> Response:
    """Tell the characters that were let in, by whichever door."""
    counted = call.entrance.guard.characters_of_caller()
    return JSONResponse({"character_count": counted, "character_limit": UNLIMITED})
