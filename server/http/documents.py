"""Uploaded documents: read, translated text by text, written again in their format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from hub.documents import Document, Format, Options, State, Unit, format_of, formats, open_document
from hub.errors import DocumentError, InputError, LanguageError, MediaTypeError
from hub.languages import broader
from hub.settings import Settings
from server.core import Core
from server.http.bodies import Fields, check_size
from server.http.translating import detect, translate_list
from server.messages import Priority, TranslateCommand

_OTHER_FIELDS: Final = 64 * 1024
"""Bytes of a form beside its file."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came in.

    Attributes:
        name: As the caller calls it; never a path of ours.
    """

    name: str
    format: Format
    data: bytes


@dataclass(frozen=True, slots=True)
class OpenedDocument:
    """A document that can be translated.

    Attributes:
        wanted: Indices of the units that are to be translated: those that have no translation yet.
    """

    upload: Upload
    document: Document
    wanted: tuple[int, ...]

    @property
    def units(self) -> Sequence[Unit]:
        """Return the units that are to be translated."""
        return [self.document.units[index] for index in self.wanted]

    @property
    def characters(self) -> int:
        """Return the characters that are to be translated."""
        return sum(len(unit.text) for unit in self.units)


def upload_body(settings: Settings) -> int:
    """Return the bytes of a body that carries the largest upload."""
    return int(settings.max_upload_bytes) + _OTHER_FIELDS


def read_upload(fields: Fields, limit: int) -> Upload:
    """Return the file of a form.

    Args:
        fields: The file is `file`; `filename` may name it.
        limit: Bytes that it may have.

    Raises:
        InputError: There is none.
        MediaTypeError: Its name has no ending that is read.
        BodyTooLargeError: It is too large.
    """
    file = fields.files.get("file")
    if file is None:
        raise InputError("Invalid request: missing file parameter", field="file")
    name = fields.text("filename") or file.name
    try:
        found = format_of(name)
    except DocumentError:
        known = ", ".join(one for found in formats() for one in found.suffixes)
        raise MediaTypeError(
            f"Invalid file: the file extension of {name[-40:]!r} is not read; use {known}",
            field="file",
        ) from None
    check_size(len(file.data), limit)
    return Upload(name, found, file.data)


def open_upload(upload: Upload, source: str, target: str) -> OpenedDocument:
    """Read a document. Blocks.

    Raises:
        InputError: It cannot be read, or has nothing to translate.
    """
    try:
        document = open_document(upload.format, upload.data, Options(source=source, target=target))
    except DocumentError as error:
        raise InputError(f"Invalid file: {error.message}", field="file") from None
    wanted = [
        index
        for index, unit in enumerate(document.units)
        if not (upload.format.keeps_both and unit.state is State.TRANSLATED)
    ]
    return OpenedDocument(upload, document, tuple(wanted))


@dataclass(frozen=True, slots=True)
class TranslatedDocument:
    """A document in another language.

    Attributes:
        left: Texts that stay as they were, because their markup could not be put back.
    """

    data: bytes
    left: int = 0


def source_of(core: Core, opened: OpenedDocument, source: str, target: str) -> str:
    """Return the language of a document, detected where it is not given. Blocks.

    Raises:
        LanguageError: It cannot be told, or is the one that is to be translated into.
    """
    if source:
        return source
    found = detect(core, [unit.text for unit in opened.units])
    if not found:
        raise LanguageError("the language of the document cannot be told; give source_lang")
    if found in broader(target) or target in broader(found):
        raise LanguageError(f"Source and target language are equal: both are {found!r}")
    return found


async def translate_document(
    core: Core, opened: OpenedDocument, command: TranslateCommand
) -> TranslatedDocument:
    """Translate a document.

    Args:
        core: What translates.
        opened: The document; it is used up.
        command: Says how; its contents do not count.

    Raises:
        HubError: Some text of it cannot be translated.
    """
    command = replace(command, priority=Priority.BATCH)
    texts = [(unit.text, unit.mime_type) for unit in opened.units]
    translations: list[str | None] = [None] * len(opened.document.units)
    found = await translate_list(core, command, texts)
    for index, text in zip(opened.wanted, found, strict=True):
        translations[index] = text
    rendered = opened.document.render(translations)
    return TranslatedDocument(rendered.data, len(rendered.left))
