"""Whole files: read off the event loop, their units translated, written again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Protocol

from hub.documents import Document, Format, Options, Rendered, State, Unit, open_document
from hub.errors import HubError, LanguageError
from hub.languages import broader
from server.messages import Detected, ItemResult, TranslateCommand, TranslateResult
from server.translation.long_lists import Detects, Translates, language_of, translate_texts


class FileTranslator(Translates, Detects, Protocol):
    """What carries out commands and tells languages."""


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file that can be translated; once, for its document is used up.

    Attributes:
        wanted: Indices of the units that are to be translated: those that have no translation in
            the file itself.
    """

    document: Document
    wanted: tuple[int, ...]

    @property
    def units(self) -> Sequence[Unit]:
        """Return the units that are to be translated."""
        units = self.document.units
        return [units[index] for index in self.wanted]

    @property
    def characters(self) -> int:
        """Return the characters that are to be translated."""
        return sum(len(unit.text) for unit in self.units)


@dataclass(frozen=True, slots=True)
class TranslatedFile:
    """A file and how it was made.

    Attributes:
        detected: Where the source language was left to be detected.
        result: Of the units; those with an error are as they were in the file.
        left: Units whose translations could not be put in.
    """

    data: bytes
    detected: Detected | None
    result: TranslateResult
    left: int

    @property
    def error(self) -> HubError | None:
        """Return why some unit was not translated, None where all were."""
        return next((item.error for item in self.result.items if item.error is not None), None)


def open_file(kind: Format, data: bytes, source: str, target: str) -> OpenedFile:
    """Read a file. Blocks.

    Args:
        kind: Its format.
        data: All of it.
        source: Language of its texts, "" where it is to be detected.
        target: Language to translate into.

    Raises:
        DocumentError: It cannot be read.
    """
    document = open_document(kind, data, Options(source=source, target=target))
    wanted = [
        index
        for index, unit in enumerate(document.units)
        if not (kind.keeps_both and unit.state is State.TRANSLATED)
    ]
    return OpenedFile(document, tuple(wanted))


async def translate_file(
    translator: FileTranslator, command: TranslateCommand, opened: OpenedFile, pool: Executor
) -> TranslatedFile:
    """Translate a file.

    Args:
        translator: Translates its units.
        command: Says how; without contents and MIME type.
        opened: The file.
        pool: Threads for what blocks.

    Raises:
        LanguageError: Its language cannot be told, or is the one to translate into.
        HubError: Nothing of it can be translated.
    """
    loop, units = asyncio.get_running_loop(), opened.units
    detected = None
    if not command.source and units:
        detected = await loop.run_in_executor(pool, _language, translator, units, command.target)
        command = replace(command, source=detected.language)
    texts = [(unit.text, unit.mime_type) for unit in units]
    result = await translate_texts(translator, command, texts)
    errors = [item.error for item in result.items if item.error is not None]
    if errors and len(errors) == len(result.items):
        raise errors[0]
    rendered = await loop.run_in_executor(pool, _rendered, opened, result.items)
    return TranslatedFile(rendered.data, detected, result, len(rendered.left))


def _language(translator: Detects, units: Sequence[Unit], target: str) -> Detected:
    found = language_of(translator, (unit.text for unit in units))
    if found.language in broader(target) or target in broader(found.language):
        raise LanguageError(
            f"Source and target language are equal: both are {found.language!r}; name another "
            "target language"
        )
    return found


def _rendered(opened: OpenedFile, items: Sequence[ItemResult]) -> Rendered:
    translations: list[str | None] = [None] * len(opened.document.units)
    for index, item in zip(opened.wanted, items, strict=True):
        translations[index] = None if item.error is not None else item.text
    return opened.document.render(translations)
