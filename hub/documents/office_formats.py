"""The elements and parts of the three office formats: ISO/IEC 29500, transitional."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

W: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
A: Final = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
S: Final = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
SPACE: Final = "{http://www.w3.org/XML/1998/namespace}space"


@dataclass(frozen=True, slots=True)
class Kind:
    """The elements of one format.

    Attributes:
        parts: Names of the parts that hold text.
        paragraphs: Elements whose runs are one unit.
        properties: Of a run; first in it.
        first: Children of a paragraph that stay in front.
        last: Children that stay behind.
        around: Elements that hold runs, and are written as a pair.
    """

    parts: re.Pattern[str]
    main: str
    paragraphs: frozenset[str]
    run: str
    text: str
    properties: str
    first: frozenset[str] = frozenset()
    last: frozenset[str] = frozenset()
    around: frozenset[str] = frozenset()


WORD: Final = Kind(
    re.compile(r"word/(document|header\d*|footer\d*|footnotes|endnotes|comments)\.xml"),
    "word/document.xml", frozenset((f"{W}p",)), f"{W}r", f"{W}t", f"{W}rPr",
    first=frozenset((f"{W}pPr",)),
    around=frozenset(
        f"{W}{name}" for name in ("hyperlink", "ins", "moveTo", "smartTag", "bdo", "dir")
    ),
)  # fmt: skip
SLIDES: Final = Kind(
    re.compile(r"ppt/(slides|notesSlides)/[^/]+\.xml|ppt/diagrams/data\d*\.xml"),
    "ppt/presentation.xml", frozenset((f"{A}p",)), f"{A}r", f"{A}t", f"{A}rPr",
    first=frozenset((f"{A}pPr",)), last=frozenset((f"{A}endParaRPr",)),
)  # fmt: skip
SHEETS: Final = Kind(
    re.compile(r"xl/sharedStrings\.xml|xl/worksheets/[^/]+\.xml"),
    "xl/workbook.xml", frozenset((f"{S}si", f"{S}is")), f"{S}r", f"{S}t", f"{S}rPr",
    last=frozenset((f"{S}rPh", f"{S}phoneticPr")),
)  # fmt: skip
SHEET: Final = re.compile(r"xl/worksheets/[^/]+\.xml")
INLINE_STRING: Final = b"inlineStr"
"""Type of a cell that holds its string itself."""
STRICT: Final = "http://purl.oclc.org/ooxml/"
TABLES: Final = re.compile(r"xl/tables/[^/]+\.xml")
