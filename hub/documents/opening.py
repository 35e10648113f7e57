"""Opens a file in its format."""

from __future__ import annotations

from collections.abc import Callable

from hub.documents.formats import Format, format_of
from hub.documents.model import MAX_BYTES, Document, Options
from hub.errors import DocumentError

Reader = Callable[[bytes, Options], Document]


def open_document(name: str | Format, data: bytes, options: Options | None = None) -> Document:
    """Read a file.

    Args:
        name: Of the file or of its format, or the format itself.
        data: The whole file.
        options: How it is read.

    Raises:
        DocumentError: It is of no known format, cannot be read, or is too large.
    """
    kind = format_of(name) if isinstance(name, str) else name
    if len(data) > MAX_BYTES:
        raise DocumentError(f"{len(data):,} bytes; a file may have {MAX_BYTES:,}, so split it")
    return _reader(kind.name)(data, options or Options())


def _reader(name: str) -> Reader:
    """Return the reader of a format; each is imported when it is first needed."""
    match name:
        case "txt":
            from hub.documents.plain_text import read_text as read
        case "md":
            from hub.documents.markdown import read_markdown as read
        case "html":
            from hub.documents.html_pages import read_html as read
        case "po":
            from hub.documents.gettext_po import read_po as read
        case "xliff":
            from hub.documents.xliff import read_xliff as read
        case "srt":
            from hub.documents.subtitles import read_srt as read
        case "vtt":
            from hub.documents.subtitles import read_vtt as read
        case "json":
            from hub.documents.json_strings import read_json as read
        case "docx":
            from hub.documents.office import read_docx as read
        case "pptx":
            from hub.documents.office import read_pptx as read
        case "xlsx":
            from hub.documents.office import read_xlsx as read
        case _:
            raise AssertionError(f"{name} has no reader")
    return read
