"""The formats that are read: by the ending of a file's name, or by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from hub.errors import DocumentError


@dataclass(frozen=True, slots=True)
class Format:
    """A format of files.

    Attributes:
        mime_type: Of the whole file.
        keeps_both: Whether a file holds source and target, so that it can be filled.
    """

    name: str
    suffixes: tuple[str, ...]
    mime_type: str
    keeps_both: bool = False


_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
_FORMATS: Final = (
    Format("txt", (".txt", ".text"), "text/plain"),
    Format("md", (".md", ".markdown"), "text/markdown"),
    Format("html", (".html", ".htm", ".xhtml"), "text/html"),
    Format("po", (".po", ".pot"), "text/x-gettext-translation", keeps_both=True),
    Format("xliff", (".xliff", ".xlf"), "application/xliff+xml", keeps_both=True),
    Format("srt", (".srt",), "application/x-subrip"),
    Format("vtt", (".vtt",), "text/vtt"),
    Format("json", (".json",), "application/json"),
    Format("docx", (".docx",), f"{_OFFICE}.wordprocessingml.document"),
    Format("pptx", (".pptx",), f"{_OFFICE}.presentationml.presentation"),
    Format("xlsx", (".xlsx",), f"{_OFFICE}.spreadsheetml.sheet"),
)


def formats() -> tuple[Format, ...]:
    """Return all formats."""
    return _FORMATS


def format_of(name: str) -> Format:
    """Return the format of a file by its name, or by that of the format itself.

    Raises:
        DocumentError: It is none that is read.
    """
    wanted = name.strip().lower()
    suffix = PurePath(wanted).suffix
    for one in _FORMATS:
        if suffix in one.suffixes or wanted in (one.name, one.mime_type):
            return one
    known = ", ".join(one.name for one in _FORMATS)
    raise DocumentError(f"{name!r:.80} is of no known format; these are read: {known}")
