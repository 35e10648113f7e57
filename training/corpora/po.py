"""gettext PO catalogues as parallel text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.encodings import find_codec
from training.corpora.lines import read_blocks, refuse_binary
from training.corpora.plurals import PluralForms, read_plural_forms, usual_plural_forms
from training.corpora.po_syntax import Entry, PoReader
from training.corpora.segments import Segment, Skipped
from training.corpora.sources import DataSource
from training.corpora.tags import match, plain_tag
from training.corpora.xliff import UNTRANSLATED

SIZE_LIMIT: Final = 64 << 20
FUZZY: Final = "fuzzy"
OBSOLETE: Final = "obsolete"
TWICE: Final = "stated twice"
NO_COUNTERPART: Final = "plural form without counterpart"
_FIELD: Final = re.compile(r"^([\w-]+):[ \t]*(.*?)[ \t]*$", re.MULTILINE | re.ASCII)
_CHARSET: Final = re.compile(r"charset=([^\s;]+)", re.IGNORECASE)
_TEMPLATE: Final = "CHARSET"


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
    header = _header(path, data)
    text = _decoded(path, data, header.codec)
    backwards = _is_backwards(source, header, pair, skipped)
    reader = PoReader(path, header.codec)
    messages = _Messages(path, header.plurals, pair.source if backwards else pair.target, skipped)
    for entry in reader.entries(iter(text.split("\n"))):
        for told, translation in messages.pairs(entry):
            sides = (translation, told) if backwards else (told, translation)
            yield Segment(entry.line, *sides)
    if reader.obsolete:
        skipped[OBSOLETE] += reader.obsolete


@dataclass(frozen=True)
class _Header:
    """What the catalogue says of itself: `codec`, `language` and `plurals` as written."""

    codec: str
    language: str
    plurals: str


def _bounded(path: Path) -> bytes:
    data = bytearray()
    for block in read_blocks(path):
        data += block
        if len(data) > SIZE_LIMIT:
            raise CorpusError(
                f"{path}: the catalogue has more than {SIZE_LIMIT:,} bytes, the limit; split it",
                field="data",
            )
    refuse_binary(path, bytes(data[:16]))
    return bytes(data).removeprefix(b"\xef\xbb\xbf")


def _header(path: Path, data: bytes) -> _Header:
    """Read the header before it is known how the text is encoded: all it needs is ASCII."""
    lines = iter(data.decode("latin-1").split("\n"))
    first = next((e for e in PoReader(path).entries(_first_entries(lines)) if e.is_header), None)
    fields = dict(_FIELD.findall(first.forms.get(0, ""))) if first is not None else {}
    stated = _CHARSET.search(fields.get("Content-Type", ""))
    name = stated[1] if stated and stated[1].upper() != _TEMPLATE else "utf-8"
    codec = find_codec(name)
    if codec is None:
        raise CorpusError(
            f"{path}: the catalogue says it is in {name[:40]!r}, which is no known charset; "
            "convert it with msgconv -t UTF-8",
            field="data",
        )
    return _Header(codec, fields.get("Language", ""), fields.get("Plural-Forms", ""))


def _first_entries(lines: Iterator[str]) -> Iterator[str]:
    """Yield the lines up to the second msgid: the header is the first entry, or there is none."""
    seen = 0
    for line in lines:
        seen += line.startswith(("msgid ", "msgid\t", "msgctxt"))
        if seen > 1:
            return
        yield line


def _decoded(path: Path, data: bytes, codec: str) -> str:
    try:
        text = data.decode(codec)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path}:{line}: byte 0x{data[error.start]:02x} is not valid in {codec}: "
            f"{error.reason}; convert the catalogue with msgconv -t UTF-8",
            field="data",
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise CorpusError(f"{path}:{line}: a NUL; this is not a text file", field="data")
    return text


def _is_backwards(
    source: DataSource, header: _Header, pair: LanguagePair, skipped: Skipped
) -> bool:
    """Return whether the translations are in the pair's source language."""
    told = source.options.get("language", "")
    tag = plain_tag(told or header.language)
    if not tag or match(tag, pair.target):
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


class _Messages:
    """Pairs each entry's ids with their translations, and counts what has none."""

    def __init__(self, path: Path, plural_header: str, language: str, skipped: Skipped) -> None:
        self._path = path
        self._plural_header = plural_header
        self._language = language
        self._skipped = skipped
        self._seen: set[tuple[str | None, str]] = set()
        self._plurals: PluralForms | None = None

    def pairs(self, entry: Entry) -> Iterator[tuple[str, str]]:
        """Yield `(id, translation)` of what is translated."""
        key = (entry.context, entry.id)
        if entry.is_header and not self._seen:
            self._seen.add(key)
            return
        if key in self._seen:
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
            return
        if not any(entry.forms.values()):
            yield entry.plural, ""
            return
        forms = self._plural_forms(entry)
        used = {forms.plural} if forms is not None else set()
        if forms is not None:
            if forms.singular not in (None, forms.plural):
                used.add(forms.singular)
                yield entry.id, entry.forms.get(forms.singular, "")
            yield entry.plural, entry.forms.get(forms.plural, "")
        left = sum(1 for number, text in entry.forms.items() if text and number not in used)
        if left:
            self._skipped[NO_COUNTERPART] += left

    def _plural_forms(self, entry: Entry) -> PluralForms | None:
        """Return what the forms mean; None where neither header nor language says it."""
        self._plurals = self._plurals or self._stated(entry)
        forms = self._plurals or usual_plural_forms(self._language)
        if forms is None or max(entry.forms) < forms.count:
            return forms
        if self._plurals is None:  # another count of forms than the language's usual one
            return None
        raise CorpusError(
            f"{self._path}:{entry.line}: msgstr[{max(entry.forms)}], but the catalogue has "
            f"{forms.count} plural forms (Plural-Forms); correct the header or the entry",
            field="data",
        )

    def _stated(self, entry: Entry) -> PluralForms | None:
        if not self._plural_header:
            return None
        try:
            return read_plural_forms(self._plural_header)
        except ValueError as error:
            raise CorpusError(
                f"{self._path}: its Plural-Forms cannot be used for the entry in line "
                f"{entry.line}: {error}",
                field="data",
            ) from None
