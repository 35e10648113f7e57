"""/translate, /detect and /languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from hub.errors import InputError
from server.access.admission import HTML, PLAIN_TEXT
from server.access.identity import current_identity
from server.http.bodies import Fields
from server.http.endpoint import Call
from server.http.libretranslate.api import tag_of
from server.http.names import language_name
from server.http.translating import translate_all
from server.messages import Detected, ItemResult, SearchChoice, TranslateCommand
from server.translation.routes import list_pairs

_FORMATS: Final[Mapping[str, str]] = {"text": PLAIN_TEXT, "html": HTML}


def command_of(fields: Fields) -> TranslateCommand:
    """Read what is to be translated.

    `adapter` and `domain` are ours: which adapter translates, where the route of the pair is not
    to decide.

    Raises:
        InputError: A field is missing, or has a value that is not served.
    """
    for name in ("q", "source", "target"):
        if name not in fields:
            raise InputError(f"Invalid request: missing {name} parameter", field=name)
    kind = fields.text("format", "text") or "text"
    if kind not in _FORMATS:
        raise InputError(f"{kind[:40]} format is not supported; use text or html", field="format")
    return TranslateCommand(
        contents=fields.texts("q"),
        source=tag_of(fields.text("source")),
        target=tag_of(fields.text("target")),
        adapter=fields.text("adapter"),
        domain=fields.text("domain"),
        mime_type=_FORMATS[kind],
        search=SearchChoice(num_alternatives=fields.number("alternatives")),
    )


async def translate(call: Call) -> Response:
    """Translate a text, or a list of them."""
    command = command_of(call.fields)
    result = await translate_all(call, command)
    items = result.items
    reply: dict[str, Any] = {"translatedText": [item.text for item in items]}
    if not command.source:
        reply["detectedLanguage"] = [_detected(item) for item in items]
    if command.search.num_alternatives:
        reply["alternatives"] = [[one.text for one in item.alternatives] for item in items]
    if not isinstance(call.fields.values["q"], list):
        reply = {name: values[0] for name, values in reply.items()}
    return JSONResponse(reply)


def _detected(item: ItemResult) -> dict[str, object]:
    return _confidence(item.detected or Detected(item.source, 0.0))


def _confidence(found: Detected) -> dict[str, object]:
    return {"confidence": round(100 * found.confidence), "language": found.language}


async def detect(call: Call) -> Response:
    """Tell the language of a text, the most probable first."""
    text = call.fields.text("q")
    if not text:
        raise InputError("Invalid request: missing q parameter", field="q")
    found = await call.off_loop(call.core.translator.detect, (text,))
    return JSONResponse([_confidence(one) for one in found[0]])


async def languages(call: Call) -> Response:
    """List source languages, each with those that it is translated into."""
    core = call.core
    table = core.routes().permitted(current_identity().permit)
    targets: dict[str, list[str]] = {}
    for served in list_pairs(table, core.translator.router.languages):
        targets.setdefault(served.pair.source, []).append(served.pair.target)
    return JSONResponse([_language(code, targets[code]) for code in sorted(targets)])


def _language(code: str, targets: Sequence[str]) -> dict[str, object]:
    return {"code": code, "name": language_name(code), "targets": sorted(targets)}
