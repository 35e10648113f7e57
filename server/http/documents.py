"""Uploaded documents: which they are, and their translation in the name of the caller."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from hub.documents import Format, format_of, formats
from hub.errors import DocumentError, InputError, MediaTypeError
from hub.settings import Settings
from server.http.bodies import Fields, check_size
from server.http.endpoint import Call
from server.http.translating import on_behalf
from server.messages import Priority, TranslateCommand
from server.telemetry.calls import note_command, note_result
from server.translation.files import (
    FileTranslator,
    OpenedFile,
    TranslatedFile,
    open_file,
    translate_file,
)

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


def open_upload(upload: Upload, source: str, target: str) -> OpenedFile:
    """Read a document. Blocks.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return open_file(upload.format, upload.data, source, target)
    except DocumentError as error:
        raise InputError(f"Invalid file: {error.message}", field="file") from None


def count_characters(upload: Upload, source: str, target: str) -> int:
    """Return the characters of a document that are to be translated. Blocks.

    Raises:
        InputError: It cannot be read.
    """
    return open_upload(upload, source, target).characters


async def translate_upload(
    call: Call, translator: FileTranslator, command: TranslateCommand, upload: Upload
) -> TranslatedFile:
    """Translate a document.

    Args:
        call: In whose name.
        translator: Translates.
        command: Says how; its contents do not count.
        upload: The document.

    Raises:
        InputError: It cannot be read.
        HubError: Some text of it cannot be translated.
    """
    command = on_behalf(replace(command, priority=Priority.BATCH))
    note_command(command)
    async with call.entrance.open_files:
        opened = await call.with_file(open_upload, upload, command.source, command.target)
        made = await translate_file(translator, command, opened, call.entrance.files)
    note_result(made.result)
    if made.error is not None:
        raise made.error
    return made
