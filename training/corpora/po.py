"""gettext PO catalogues as parallel text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.encodings import find_codec, marked_codec, settle_codec, text_decoder
from training.corpora.lines import read_blocks, refuse_binary
from training.corpora.plurals import (
    PluralForms,
    fitting_plural_forms,
    pair_forms,
    read_plural_forms,
)
from training.corpora.po_syntax import Entry, PoReader
from training.corpora.segments import NO_COUNTERPART, UNTRANSLATED, Segment, Skipped
from training.corpora.sources import DataSource
from training.corpora.tags import match, plain_tag

SIZE_LIMIT: Final = 64 << 20
FUZZY: Final = "fuzzy"
OBSOLETE: Final = "obsolete"
TWICE: Final = "stated twice"
_FIELD: Final = re.compile(r"([\w-]+):[ \t]*(.*)", re.ASCII)
_TAG_LENGTH: Final = 60
_TEMPLATE: Final = "CHARSET"
_END_OF_DOS: Final = b"\x1a"

# The header is looked for in the bytes, whose encoding it says: in some encodings of East Asia the
# second byte of a character may be a backslash, but no line end and no quotation mark.
_EMPTY_ID: Final = re.compile(
    rb'^(?:\xef\xbb\xbf)?[ \t]*msgid[ \t]*""[ \t]*\r?\n(?:[ \t]*(?:#[^\n]*)?\r?\n)*'
    rb'[ \t]*msgstr(?:\[0\])?[ \t]*[^\n]*(?:\n[ \t]*"[^\n]*)*',
    re.MULTILINE,
)
_CONTEXT: Final = re.compile(
    rb'^[ \t]*msgctxt[ \t]*"(?!"\s*\Z)[^\n]*\n(?:[ \t]*"[^\n]*\n)*\Z', re.MULTILINE
)
_CONTEXT_LENGTH: Final = 4096
_CHARSET: Final = re.compile(
    rb"Content-Type:[^:]{0,200}?charset\s*=[\s\\\"']*([^\s;\\\"']+)", re.IGNORECASE
)


def read_po(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield the translated messages of a catalogue, which is read whole (64 MiB at most).

    Fuzzy, obsolete and untranslated entries are left out and counted, and so is the second entry
    for one message. Of a plural entry, the singular goes with the form that is said of 1 alone, the
    plural with the form that most numbers take; what has no counterpart is counted. The message ids
    are in the pair's source language, or in its target language where the catalogue's header says
    so; `#language=TAG` overrules the header.

    Raises:
        CorpusError: Not a catalogue, over the limit, in an unknown charset or for another language.
    """
    path = Path(source.path)
    data = _bounded(path)
    header = _header_in(data)
    codec = _codec(path, data, header, skipped)
    text = _decoded(path, data, codec)
    fields = _fields(path, codec, header)
    backwards = _is_backwards(source, fields.get("language", ""), pair, skipped)
    reader = PoReader(path, codec)
    plurals = _Plurals(
        source.name, fields.get("plural-forms", ""), pair.source if backwards else pair.target
    )
    messages = _Messages(plurals, skipped)
    for entry in reader.entries(iter(text.split("\n"))):
        for told, translation in messages.pairs(entry):
            sides = (translation, told) if backwards else (told, translation)
            yield Segment(entry.line, *sides)
    if reader.obsolete:
        skipped[OBSOLETE] += reader.obsolete


def _bounded(path: Path) -> bytes:
    """Return a file's bytes with lines that end at line feeds."""
    read = bytearray()
    for block in read_blocks(path):
        read += block
        if len(read) > SIZE_LIMIT:
            raise CorpusError(
                f"{path}: the catalogue has more than {SIZE_LIMIT:,} bytes, the limit; split it",
                field="data",
            )
    data = bytes(read).removesuffix(_END_OF_DOS)
    refuse_binary(path, data[:16])
    return data if b"\n" in data else data.replace(b"\r", b"\n")


@dataclass(frozen=True)
class _Header:
    """The entry in which a catalogue speaks of itself, and the lines before it."""

    data: bytes = b""
    before: int = 0


def _header_in(data: bytes) -> _Header:
    """Find the entry with an empty id, wherever it stands, as bytes."""
    for found in _EMPTY_ID.finditer(data):
        start = found.start()
        if not _CONTEXT.search(data, max(0, start - _CONTEXT_LENGTH), start):
            return _Header(found[0], data.count(b"\n", 0, start))
    return _Header()


def _codec(path: Path, data: bytes, header: _Header, skipped: Skipped) -> str:
    """Return the codec of a catalogue: a byte order mark says it, else the header."""
    if marked_codec(data):  # of UTF-8: others are refused
        return "utf-8"
    stated = _CHARSET.search(header.data)
    name = stated[1].decode("latin-1") if stated else _TEMPLATE
    codec = "utf-8" if name.upper() == _TEMPLATE else find_codec(name)
    if codec is None:
        raise CorpusError(
            f"{path}: the catalogue says it is in {name[:40]!r}, which is no known charset; "
            "convert it with msgconv -t UTF-8",
            field="data",
        )
    settled, note = settle_codec(codec, f"its header says charset={name}", [data])
    if note:
        skipped.notes.append(f"{path.name}: {note}")
    return settled


def _decoded(path: Path, data: bytes, codec: str) -> str:
    mark = marked_codec(data)
    try:
        text = text_decoder(codec).decode(data[mark[1] if mark else 0 :], True)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path}:{line}: byte 0x{error.object[error.start]:02x} is not valid in {codec}: "
            f"{error.reason}; convert the catalogue with msgconv -t UTF-8",
            field="data",
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CorpusError(f"{path}:{line}: a NUL; this is not a text file", field="data")
    return text


def _fields(path: Path, codec: str, header: _Header) -> dict[str, str]:
    """Return the fields of the header by their names in small letters."""
    text = text_decoder(codec).decode(header.data, True)
    entries = PoReader(path, codec, line=header.before).entries(iter(text.split("\n")))
    fields: dict[str, str] = {}
    name = ""
    for line in next((entry.forms.get(0, "") for entry in entries), "").split("\n"):
        if found := _FIELD.fullmatch(line):
            name = found[1].lower()
            fields.setdefault(name, found[2].strip())
        elif name:  # a field that goes on
            fields[name] = f"{fields[name]} {line.strip()}".strip()
    return fields


def _is_backwards(source: DataSource, stated: str, pair: LanguagePair, skipped: Skipped) -> bool:
    """Return whether the translations are in the pair's source language."""
    told = source.options.get("language", "")
    tag = (told or stated)[:_TAG_LENGTH]
    if not plain_tag(tag).tag or match(tag, pair.target):
        return False
    if match(tag, pair.source):
        if not told:
            skipped.notes.append(
                f"{source.name}: its header says Language: {tag}, so its translations count as "
                f"{pair.source} and its messages as {pair.target}; if that is left over from a "
                f"template, say #language={pair.target.replace('-', '_')}"
            )
        return True
    raise CorpusError(
        f"{source.path}: the catalogue is in {tag!r}, which is neither language of {pair}; if its "
        f"header is wrong, say #language={pair.target.replace('-', '_')}",
        field="data",
    )


class _Plurals:
    """Knows what the plural forms of a catalogue mean."""

    def __init__(self, name: str, header: str, language: str) -> None:
        self.fault = ""
        self._language = language
        self._stated: PluralForms | None = None
        try:
            self._stated = read_plural_forms(header)
        except ValueError as error:
            self.fault = (
                f"{name}: its Plural-Forms cannot be used, so messages with plural forms were left "
                f"out: {error}"
            )

    def of(self, entry: Entry) -> PluralForms | None:
        """Return what the forms of an entry mean; None where it cannot be told."""
        if self.fault:
            return None
        return fitting_plural_forms(entry.forms, self._stated, self._language)


class _Messages:
    """Pairs each entry's ids with their translations, and counts what has none."""

    def __init__(self, plurals: _Plurals, skipped: Skipped) -> None:
        self._plurals = plurals
        self._skipped = skipped
        self._seen: set[tuple[str | None, str]] = set()
        self._header_seen = False

    def pairs(self, entry: Entry) -> Iterator[tuple[str, str]]:
        """Yield `(id, translation)` of what is translated."""
        if entry.is_header and not self._header_seen:
            self._header_seen = True
            return
        key = (entry.context, entry.id)
        if key in self._seen or entry.is_header:
            self._skipped[TWICE] += 1
            return
        self._seen.add(key)
        if entry.fuzzy:
            self._skipped[FUZZY] += 1
            return
        for told, translation in self._counterparts(entry):
            if told and translation:
                yield told, translation
            else:
                self._skipped[UNTRANSLATED] += 1

    def _counterparts(self, entry: Entry) -> Iterator[tuple[str, str]]:
        if entry.plural is None:
            yield entry.id, entry.forms.get(0, "")
            self._count_left(sum(1 for number, text in entry.forms.items() if number and text))
            return
        if not any(entry.forms.values()):
            yield entry.plural, ""
            return
        paired = pair_forms(entry.id, entry.plural, entry.forms, self._plurals.of(entry))
        yield from paired.pairs
        self._count_left(paired.left)

    def _count_left(self, forms: int) -> None:
        """Count forms without a counterpart, and say why if it is the header's fault."""
        if not forms:
            return
        self._skipped[NO_COUNTERPART] += forms
        if self._plurals.fault and self._plurals.fault not in self._skipped.notes:
            self._skipped.notes.append(self._plurals.fault)
