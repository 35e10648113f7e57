"""Commands of HTTP callers, carried out as those of gRPC are."""

from __future__ import annotations

from dataclasses import replace

from server.access.identity import current_identity
from server.core import Core
from server.messages import TranslateCommand, TranslateResult
from server.telemetry.calls import note_command, note_result
from server.translation.long_lists import raise_first


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
    raise_first(result)
    return result
