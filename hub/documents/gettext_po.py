"""gettext PO files and templates: translations are written in place, all other lines stay.

A reader of our own: polib and Babel write the whole file anew, with other line breaks, in another
order of comments (and Babel without the header lines that it does not know), so that a version
control shows every entry as changed. The tests compare what is written with polib's reading of it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from hub.documents.decoding import Decoded, decode
from hub.documents.model import Document, Options, State, bounded
from hub.documents.spans import Span, SpanDocument, Write, as_it_is, write_inline
from hub.documents.tags import tagged
from hub.errors import DocumentError

WIDTH: Final = 78
MAX_PARTS: Final = 40
"""Keywords of one entry; no language has more than six plural forms."""

_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|$)")
_STRING: Final = re.compile(r'[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*')
_KEYWORD: Final = re.compile(r"[ \t]*(msgctxt|msgid_plural|msgid|msgstr)(?:\[(\d{1,2})\])?[ \t]*")
_ESCAPE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|(.))")
_LETTERS: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_WRITTEN: Final = str.maketrans(
    {
        "\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a",
        "\b": "\\b", "\f": "\\f", "\v": "\\v",
    }
)  # fmt: skip
_CHARSET: Final = re.compile(rb"charset=([A-Za-z0-9_.:-]+)")
_CHARSET_TEXT: Final = re.compile(r"charset=([A-Za-z0-9_.:-]+)")
_STATED: Final = re.compile(r'"Language:[ \t]*([A-Za-z][\w@.-]*)')
_LANGUAGE: Final = re.compile(r'"Language:[ \t]*([\w@.-]*)[ \t]*\\n"')
_FUZZY: Final = re.compile(r",[ \t]*fuzzy\b")
_PREVIOUS: Final = re.compile(r"(?m)^#\|[^\r\n]*(?:\r\n|\n|\r)")
_WORD: Final = re.compile(r"\S*\s*")


@dataclass
class _Part:
    """A keyword and its strings."""

    name: str
    number: int | None
    start: int
    end: int
    lines: int = 0
    raw: list[str] = field(default_factory=list)

    @property
    def value(self) -> str:
        return _ESCAPE.sub(_unescaped, "".join(self.raw))


@dataclass
class _Entry:
    """A message; `flags` is the place of its comment of flags."""

    line: int = 0
    parts: list[_Part] = field(default_factory=list)
    flags: tuple[int, int] | None = None
    fuzzy: bool = False

    def get(self, name: str) -> _Part | None:
        return next((part for part in self.parts if part.name == name), None)

    @property
    def forms(self) -> list[_Part]:
        return [part for part in self.parts if part.name == "msgstr"]

    @property
    def state(self) -> State:
        if not all(form.value for form in self.forms):
            return State.UNTRANSLATED
        return State.FUZZY if self.fuzzy else State.TRANSLATED


def read_po(data: bytes, options: Options) -> Document:
    """Read a catalogue or a template; it is written in UTF-8.

    Raises:
        DocumentError: A line is none of a PO file.
    """
    found = decode(data, _charset(data, options.encoding))
    decoded = Decoded(found.text, "utf-8", codecs.BOM_UTF8 if found.mark else b"")
    headers: list[_Part] = []
    spans = list(bounded(_all_spans(found, headers)))
    edits = [edit for header in headers for edit in _header(found.text, header, options)]
    stated = _STATED.search(found.text, headers[-1].start, headers[-1].end) if headers else None
    return SpanDocument(decoded, spans, edits=edits, language=stated[1] if stated else "")


def _all_spans(found: Decoded, headers: list[_Part]) -> Iterator[Span]:
    """Yield what is translated; the translation of a message without text is a header."""
    for entry in _entries(found.text):
        source = entry.get("msgid")
        if source is None or not entry.forms:
            continue
        if not source.value and entry.get("msgctxt") is None:
            headers.append(entry.forms[0])
        else:
            yield from _spans(found.text, entry, source, found.line_end)


def _charset(data: bytes, default: str) -> str:
    """Return what the header says; templates say CHARSET."""
    found = _CHARSET.search(data, 0, 16_384)
    name = found[1].decode("ascii") if found else default
    return default if name == "CHARSET" else name


def _header(text: str, part: _Part, options: Options) -> Iterator[tuple[int, int, str]]:
    charset = _CHARSET_TEXT.search(text, part.start, part.end)
    if charset is not None and charset[1].lower() != "utf-8":
        yield charset.start(1), charset.end(1), "UTF-8"
    language = _LANGUAGE.search(text, part.start, part.end)
    if language is not None and options.target and not _same(language[1], options.target):
        yield language.start(), language.end(), f'"Language: {options.target.replace("-", "_")}\\n"'


def _same(stated: str, target: str) -> bool:
    """Tell whether a header's language is the target, with or without its country."""
    return re.split("[_@.-]", stated.lower())[0] == target.lower().split("-")[0]


def _entries(text: str) -> Iterator[_Entry]:
    entry = _Entry()
    for number, found in enumerate(_LINE.finditer(text), 1):
        line = found[0].rstrip("\r\n")
        bare = line.strip().strip("\ufeff")
        keyword = _KEYWORD.match(line)
        begins = keyword is not None and keyword[1] in ("msgctxt", "msgid")
        if entry.forms and (begins or not bare or bare.startswith("#")):
            yield entry
            entry = _Entry()
        if bare.startswith("#,") and not entry.parts:
            entry.flags = (found.start(), found.start() + len(found[0]))
            entry.fuzzy = bool(_FUZZY.search(bare))
        elif keyword is not None:
            _begin(entry, keyword, found.start(), line, number)
        elif bare and not bare.startswith("#"):
            _continue(entry, found.start(), line, number)
    if entry.forms:
        yield entry


def _begin(entry: _Entry, keyword: re.Match[str], start: int, line: str, number: int) -> None:
    name = keyword[1]
    entry.line = entry.line or number
    place = None if keyword[2] is None else int(keyword[2])
    if name == "msgstr" and entry.get("msgid") is None:
        raise _fault(number, "msgstr without a msgid", line)
    if len(entry.parts) == MAX_PARTS:
        raise _fault(number, f"an entry with more than {MAX_PARTS} keywords", line)
    begin = start + len(line) - len(line.lstrip())
    entry.parts.append(_Part(name, place, begin, start + len(line)))
    _take(entry.parts[-1], line[keyword.end() :], line, number)


def _continue(entry: _Entry, start: int, line: str, number: int) -> None:
    if not entry.parts:
        raise _fault(number, "not a line of a PO file", line)
    _take(entry.parts[-1], line, line, number)
    entry.parts[-1].end = start + len(line)


def _take(part: _Part, literal: str, line: str, number: int) -> None:
    string = _STRING.fullmatch(literal)
    if string is None:
        raise _fault(number, "not a string that ends on its line", line)
    part.raw.append(string[1])
    part.lines += 1


def _fault(number: int, what: str, line: str) -> DocumentError:
    return DocumentError(f"line {number}: {what}: {line.strip()[:60]!r}; mend the file")


def _spans(text: str, entry: _Entry, source: _Part, line_end: str) -> Iterator[Span]:
    plural = entry.get("msgid_plural")
    for index, form in enumerate(entry.forms):
        first = form.number == 0 if form.number is not None else index == 0
        single = plural is None or (first and len(entry.forms) > 1)
        part = source if single or plural is None else plural
        place = f"line {entry.line}" + ("" if form.number is None else f" [{form.number}]")
        inline = tagged(part.value, place, entry.state)
        if inline.unit is None:
            continue
        start, before = form.start, ""
        if index == 0 and entry.fuzzy and entry.flags is not None:
            start = entry.flags[0]
            before = _unfuzzied(text, entry.flags, form.start)
        write = write_inline(inline, as_it_is)
        yield Span(start, form.end, inline.unit, _writer(form, part, before, line_end, write))


def _unfuzzied(text: str, flags: tuple[int, int], until: int) -> str:
    """Return the lines from the flags to the translation, without what only fuzzy ones have."""
    line = _FUZZY.sub("", text[flags[0] : flags[1]])
    kept = "" if line.strip() == "#" else line
    return kept + _PREVIOUS.sub("", text[flags[1] : until])


def _writer(form: _Part, source: _Part, before: str, line_end: str, write: Write) -> Write:
    name = form.name if form.number is None else f"{form.name}[{form.number}]"

    def written(translation: str) -> str | None:
        value = write(translation)
        if value is None:
            return None
        return before + line_end.join(_literal(name, value, wrapped=source.lines > 1))

    return written


def _literal(name: str, value: str, *, wrapped: bool) -> list[str]:
    """Return the lines of a string, broken as that of its source is: at all or not."""
    whole = value.translate(_WRITTEN)
    lines = value.splitlines(keepends=True) if "\n" in value else [value]
    if not wrapped and (len(lines) < 2 or value.count("\n") == 0):
        return [f'{name} "{whole}"']
    pieces = [piece for line in lines for piece in _folded(line.translate(_WRITTEN))]
    if len(pieces) == 1 and len(name) + len(pieces[0]) + 3 <= WIDTH:
        return [f'{name} "{whole}"']
    return [f'{name} ""', *(f'"{piece}"' for piece in pieces)]


def _folded(line: str) -> Iterator[str]:
    """Yield a line in pieces that end at a blank."""
    piece = ""
    for word in _WORD.findall(line):
        if piece and len(piece) + len(word.rstrip()) + 2 > WIDTH:
            yield piece
            piece = ""
        piece += word
    if piece or not line:
        yield piece


def _unescaped(found: re.Match[str]) -> str:
    if found[3] is not None:
        return _LETTERS.get(found[3], found[3])
    return chr(int(found[1], 16) if found[1] else int(found[2], 8) & 0xFF)
