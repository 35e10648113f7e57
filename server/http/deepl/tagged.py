"""Texts of XML, translated unit by unit."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from hub.errors import LanguageError
from server.access.admission import HTML, check_contents
from server.http.deepl.xml_text import TagRules, XmlText, as_html, of_html, read_xml_text
from server.http.endpoint import Call
from server.http.translating import on_behalf
from server.messages import TranslateCommand
from server.telemetry.calls import note_command
from server.translation.long_lists import language_of, raise_first, translate_texts


async def translate_xml(
    call: Call, command: TranslateCommand, rules: TagRules
) -> list[tuple[str, str]]:
    """Translate the contents of a command, each with its source language.

    Raises:
        HubError: Some text cannot be read or translated.
    """
    command = on_behalf(command)
    note_command(command)
    check_contents(command.contents, command.mime_type, call.core.translator.limits)
    texts = [await call.with_file(read_xml_text, one, rules) for one in command.contents]
    return await asyncio.gather(*(_translate(call, command, one) for one in texts))


async def _translate(call: Call, command: TranslateCommand, text: XmlText) -> tuple[str, str]:
    translator = call.core.translator
    if not command.source:
        with suppress(LanguageError):  # else each unit's is detected by itself
            words = [unit.text for unit in text.units]
            found = await call.off_loop(language_of, translator, words)
            command = replace(command, source=found.language)
    asked = [(as_html(unit), HTML) for unit in text.units]
    result = await translate_texts(translator, command, asked)
    raise_first(result)
    pairs = zip(text.units, result.items, strict=True)
    return command.source or result.source, text.render(
        [of_html(unit, item.text) for unit, item in pairs]
    )
