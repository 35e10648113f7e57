"""Whole files: read off the event loop, their units translated, written again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final, Protocol

from hub.documents import Document, Format, Options, Rendered, Unit, open_document
from server.access.charging import charge
from server.messages import Detected, ItemResult, TranslateCommand
from server.quality.canary.split import whole_key
from server.translation.detection import best
from server.translation.long_lists import Translates, translate_list

DETECTED_UNITS: Final = 200
"""First units whose text tells the language of a file."""


class FileTranslator(Translates, Protocol):
    """What carries out commands and tells languages."""

    def detect(self, contents: Sequence[str], mime_type: str = "") -> list[list[Detected]]:
        """Tell the language of texts; blocks."""


@dataclass(frozen=True, slots=True)
class TranslatedFile:
    """A file and how it was made.

    Attributes:
        detected: Where the source language was left to be detected.
        items: Of its units; those with an error are as they were in the file.
        characters: Of all units.
        left: Units whose translations could not be put in.
    """

    data: bytes
    detected: Detected | None
    items: tuple[ItemResult, ...]
    characters: int
    left: int


async def translate_file(
    translator: FileTranslator,
    command: TranslateCommand,
    kind: Format,
    data: bytes,
    pool: Executor,
) -> TranslatedFile:
    """Translate a file; its text counts for the caller's quota.

    Args:
        translator: Translates its units.
        command: Without contents and MIME type.
        kind: Format of the file.
        data: The file.
        pool: Threads for reading and writing, which block.

    Raises:
        DocumentError: It cannot be read.
        HubError: Nothing of it can be translated.
    """
    loop = asyncio.get_running_loop()
    options = Options(command.source, command.target)
    document = await loop.run_in_executor(pool, open_document, kind, data, options)
    characters = sum(len(unit.text) for unit in document.units)
    charge(characters)
    detected = None
    if not command.source and document.units:
        detected = await loop.run_in_executor(pool, _detected, translator, document.units)
        command = replace(command, source=detected.language)
    items = await _items(translator, command, document.units)
    rendered = await loop.run_in_executor(pool, _rendered, document, items)
    return TranslatedFile(rendered.data, detected, tuple(items), characters, len(rendered.left))


def _detected(translator: FileTranslator, units: Sequence[Unit]) -> Detected:
    text = "\n".join(unit.text for unit in units[:DETECTED_UNITS])
    return best(translator.detect([text], "text/html")[0])


async def _items(
    translator: FileTranslator, command: TranslateCommand, units: Sequence[Unit]
) -> list[ItemResult]:
    items = [ItemResult() for _ in units]
    if not command.routing_key:
        key = whole_key(command.target, (unit.text for unit in units))
        command = replace(command, routing_key=key)
    for mime_type in dict.fromkeys(unit.mime_type for unit in units):
        places = [index for index, unit in enumerate(units) if unit.mime_type == mime_type]
        part = replace(
            command, contents=tuple(units[place].text for place in places), mime_type=mime_type
        )
        result = await translate_list(translator, part)
        for place, item in zip(places, result.items, strict=True):
            items[place] = item
    errors = [item.error for item in items if item.error is not None]
    if errors and len(errors) == len(items):
        raise errors[0]
    return items


def _rendered(document: Document, items: Sequence[ItemResult]) -> Rendered:
    return document.render([None if item.error is not None else item.text for item in items])
