"""/translate, /detect, /languages and /suggest."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from hub.errors import InputError
from server.access.admission import HTML, PLAIN_TEXT
from server.access.identity import current_identity
from server.core import Core
from server.http.bodies import Fields
from server.http.endpoint import Call
from server.http.languages import ServedLanguages, language_name
from server.http.libretranslate.api import require, tag_of
from server.http.translating import translate_all
from server.messages import Detected, ItemResult, SearchChoice, TranslateCommand
from server.quality.feedback import Correction

_FORMATS: Final[Mapping[str, str]] = MappingProxyType({"text": PLAIN_TEXT, "html": HTML})


def command_of(core: Core, fields: Fields) -> TranslateCommand:
    """Read how something is to be translated.

    `adapter` and `domain` are ours: which adapter translates, where the route of the pair is not
    to decide.

    Raises:
        InputError: A field is missing, or has a value that is not served.
    """
    require(fields, "source", "target")
    kind = fields.text("format", "text") or "text"
    if kind not in _FORMATS:
        raise InputError(f"{kind[:40]} format is not supported; use text or html", field="format")
    return TranslateCommand(
        contents=fields.texts("q"),
        source=tag_of(core, fields.text("source")),
        target=tag_of(core, fields.text("target")),
        adapter=fields.text("adapter"),
        domain=fields.text("domain"),
        mime_type=_FORMATS[kind],
        search=_search(core, fields.number("alternatives")),
    )


def _search(core: Core, alternatives: int) -> SearchChoice:
    """Return a search that is wide enough for alternatives, of which callers know no width.

    Raises:
        InputError: There cannot be so many.
    """
    most = core.translator.limits.max_beam - 1
    if not 0 <= alternatives <= most:
        raise InputError(
            f"alternatives {str(alternatives)[:20]} is out of range; ask for 0 to {most}",
            field="alternatives",
        )
    if not alternatives:
        return SearchChoice()
    own = core.translator.limits.search.beam_size
    return SearchChoice(beam_size=max(own, alternatives + 1), num_alternatives=alternatives)


async def translate(call: Call) -> Response:
    """Translate a text, or a list of them."""
    require(call.fields, "q")
    command = command_of(call.core, call.fields)
    items = (await translate_all(call.core, command)).items
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
    require(call.fields, "q")
    text = call.fields.text("q")
    found = await call.off_loop(call.core.translator.detect, (text,))
    return JSONResponse([_confidence(one) for one in found[0]])


async def languages(call: Call) -> Response:
    """List source languages, each with those that it is translated into."""
    return await call.off_loop(_listed, ServedLanguages.of(call.core))


def _listed(served: ServedLanguages) -> Response:
    return JSONResponse(
        [
            {"code": code, "name": language_name(code), "targets": targets}
            for code, targets in served.targets_by_source().items()
        ]
    )


async def suggest(call: Call) -> Response:
    """Store a better translation: a post-edit, from which adapters can be trained."""
    require(call.fields, "q", "s", "source", "target")
    fields, core = call.fields, call.core
    correction = Correction(
        source_language=tag_of(core, fields.text("source")),
        target_language=tag_of(core, fields.text("target")),
        source=fields.text("q"),
        correction=fields.text("s"),
    )
    await core.feedback.submit([correction], "", current_identity())
    return JSONResponse({"success": True})
