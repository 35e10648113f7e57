"""Commands of HTTP callers, carried out as those of gRPC are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from server.access.admission import HTML
from server.access.identity import current_identity
from server.core import Core
from server.messages import TranslateCommand, TranslateResult
from server.quality.canary.split import whole_key
from server.telemetry.calls import note_command, note_result
from server.translation.detection import REFUSED

CHUNK: Final = 128
"""Texts of a long list that are asked for at once: two steps of a full batch."""
_LOOKED_AT: Final = 2000
"""Characters by which the language of many texts is told."""


def on_behalf(command: TranslateCommand) -> TranslateCommand:
    """Return a command in the name of the current caller, with what it may use."""
    identity = current_identity()
    return replace(command, tenant=identity.tenant, permitted=identity.permit.patterns)


async def translate(core: Core, command: TranslateCommand) -> TranslateResult:
    """Translate in the name of the current caller; items fail one by one, in their results.

    Raises:
        HubError: Nothing of the command can be done.
    """
    command = on_behalf(command)
    note_command(command)
    result = await core.translator.translate(command)
    note_result(result)
    return result


async def translate_all(core: Core, command: TranslateCommand) -> TranslateResult:
    """Translate for an API whose replies have no place for the failure of one text.

    Raises:
        HubError: Some text cannot be translated.
    """
    result = await translate(core, command)
    for item in result.items:
        if item.error is not None:
            raise item.error
    return result


async def translate_list(
    core: Core, command: TranslateCommand, texts: Sequence[tuple[str, str]]
) -> list[str]:
    """Translate a list of any length, a few at a time.

    Args:
        core: What translates.
        command: Says how; its contents do not count.
        texts: Each with its MIME type.

    Returns:
        The translations, in order.

    Raises:
        HubError: Some text cannot be translated.
    """
    size = min(CHUNK, core.translator.limits.max_contents)
    if not command.routing_key:
        key = whole_key(command.target, (text for text, _ in texts))
        command = replace(command, routing_key=key)
    found: dict[int, str] = {}
    for kind in dict.fromkeys(kind for _, kind in texts):
        chosen = [index for index, (_, one) in enumerate(texts) if one == kind]
        for begin in range(0, len(chosen), size):
            part = chosen[begin : begin + size]
            contents = tuple(texts[index][0] for index in part)
            asked = replace(command, contents=contents, mime_type=kind)
            result = await translate_all(core, asked)
            found |= {index: item.text for index, item in zip(part, result.items, strict=True)}
    return [found[index] for index in range(len(texts))]


def detect(core: Core, texts: Sequence[str], *, html: bool = False) -> str:
    """Return the one language of several texts, "" where it cannot be told. Blocks."""
    joined = "\n".join(texts)[:_LOOKED_AT]
    found = core.translator.detect([joined or " "], HTML if html else "")[0]
    return found[0].language if found and found[0].confidence >= REFUSED else ""
