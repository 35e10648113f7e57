"""Texts of XML, translated unit by unit."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from server.access.admission import HTML
from server.http.deepl.xml_text import TagRules, XmlText, as_html, of_html, read_xml_text
from server.http.endpoint import Call
from server.http.translating import detect, translate_list
from server.messages import TranslateCommand


async def translate_xml(
    call: Call, command: TranslateCommand, rules: TagRules
) -> list[tuple[str, str]]:
    """Translate the contents of a command, each with its source language.

    Raises:
        HubError: Some text cannot be read or translated.
    """
    texts = [await call.off_loop(read_xml_text, one, rules) for one in command.contents]
    return await asyncio.gather(*(_translate(call, command, one) for one in texts))


async def _translate(call: Call, command: TranslateCommand, text: XmlText) -> tuple[str, str]:
    source = command.source
    if not source:
        words = [unit.text for unit in text.units]
        source = await call.off_loop(lambda: detect(call.core, words, html=True))
    asked = [(as_html(unit), HTML) for unit in text.units]
    found = await translate_list(call.core, replace(command, source=source), asked)
    pairs = zip(text.units, found, strict=True)
    return source, text.render([of_html(unit, translation) for unit, translation in pairs])
