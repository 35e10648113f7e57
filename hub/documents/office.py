"""Office Open XML: Word (.docx), PowerPoint (.pptx) and Excel (.xlsx).

A paragraph is a unit, and its runs are codes: words in another format than most of the paragraph
are a pair, links and tracked insertions too; pictures, breaks and notes are points; fields, such as
page numbers and references, stay as they are. Elements are moved, not copied, so that what hangs on
one (a text box with paragraphs of its own) stays in one piece. Parts without text are not touched.

python-docx reads Word files and writes them anew, but its paragraphs leave out links, text boxes,
notes and tracked changes; lxml on the parts themselves serves all three formats alike.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lxml import etree

from hub.documents.archives import Archive, open_archive
from hub.documents.inline import Code, Inline, Piece, Role, make_inline
from hub.documents.model import Document, Options, Rendered, Unit, bounded
from hub.documents.office_formats import (
    INLINE_STRING,
    SHEET,
    SHEETS,
    SLIDES,
    SPACE,
    STRICT,
    TABLES,
    WORD,
    Kind,
    S,
    W,
)
from hub.documents.xml_reading import Element, Room, read_xml, suited, text_of, write_xml
from hub.errors import DocumentError


@dataclass(frozen=True, slots=True)
class _Text:
    """A paragraph with its unit."""

    paragraph: Element
    inline: Inline
    format: Element | None


@dataclass
class OfficeDocument:
    """A file of one of the three formats."""

    archive: Archive
    kind: Kind
    trees: dict[str, etree._ElementTree] = field(default_factory=dict)
    texts: list[tuple[str, _Text]] = field(default_factory=list)
    language: str = ""

    @property
    def units(self) -> Sequence[Unit]:
        """Return the units of all parts, in their order in the file."""
        return [one.inline.unit for _, one in self.texts if one.inline.unit is not None]

    def render(self, translations: Sequence[str | None]) -> Rendered:
        """Return the file; parts without a translation are those that were read."""
        left, changed = [], set()
        for index, ((name, text), wanted) in enumerate(zip(self.texts, translations, strict=True)):
            pieces = None if wanted is None else text.inline.read(wanted)
            if pieces is not None:
                _Writer(self.kind, text).write(pieces)
                changed.add(name)
            elif wanted is not None:
                left.append(index)
        parts = {
            name: write_xml(self.trees[name], self.archive.read(name)) for name in sorted(changed)
        }
        return Rendered(self.archive.with_parts(parts), tuple(left))


def read_docx(data: bytes, options: Options) -> Document:
    """Read a Word file.

    Raises:
        DocumentError: It is none, or is larger than allowed when unpacked.
    """
    return _read(data, WORD)


def read_pptx(data: bytes, options: Options) -> Document:
    """Read a PowerPoint file.

    Raises:
        DocumentError: As in `read_docx`.
    """
    return _read(data, SLIDES)


def read_xlsx(data: bytes, options: Options) -> Document:
    """Read an Excel file: the strings of its cells, but not those that name a table's columns.

    Raises:
        DocumentError: As in `read_docx`.
    """
    return _read(data, SHEETS)


def _read(data: bytes, kind: Kind) -> Document:
    archive = open_archive(data)
    if kind.main not in archive.names:
        raise DocumentError(
            f"the archive has no part {kind.main!r}; is the name's ending that of its format?"
        )
    document = OfficeDocument(archive, kind)
    room = Room()
    fixed = _column_names(archive, room) if kind is SHEETS else frozenset()
    document.texts.extend(bounded(_all_texts(document, room, fixed)))
    return document


def _all_texts(
    document: OfficeDocument, room: Room, fixed: frozenset[str]
) -> Iterator[tuple[str, _Text]]:
    """Yield the texts of each part with its name, and keep the parts that were read."""
    for name in document.archive.names:
        if not document.kind.parts.fullmatch(name):
            continue
        content = document.archive.read(name)
        if SHEET.fullmatch(name) and INLINE_STRING not in content:
            continue  # its strings are shared ones; of numbers it may have millions
        tree = read_xml(content, f"part {name!r:.80}", room)
        _check_form(tree.getroot(), name)
        document.trees[name] = tree
        for one in _texts(tree, document.kind, name, fixed):
            yield name, one


def _check_form(root: Element, name: str) -> None:
    """Refuse strict Open XML, whose elements have other namespaces and would be overlooked.

    Raises:
        DocumentError: It is.
    """
    if any(str(space).startswith(STRICT) for space in root.nsmap.values()):
        raise DocumentError(
            f"part {name!r:.80} is strict Open XML, which is not read; save the file in the usual "
            "form (in Office: without the word Strict)"
        )


def _column_names(archive: Archive, room: Room) -> frozenset[str]:
    """Return the names of tables' columns: Excel repairs a file whose header cells differ."""
    found: set[str] = set()
    for name in archive.names:
        if TABLES.fullmatch(name):
            tree = read_xml(archive.read(name), f"part {name!r:.80}", room)
            found |= {str(one.get("name", "")) for one in tree.getroot().iter(f"{S}tableColumn")}
    return frozenset(found)


def _texts(
    tree: etree._ElementTree, kind: Kind, name: str, fixed: frozenset[str]
) -> Iterator[_Text]:
    number = 0
    for paragraph in tree.getroot().iter(*kind.paragraphs):
        number += 1
        if fixed and text_of(paragraph) in fixed:
            continue
        pieces, usual = _Reader(kind, paragraph).read()
        inline = make_inline(pieces, f"{name.rpartition('/')[2]} paragraph {number}")
        if inline.unit is not None:
            yield _Text(paragraph, inline, usual)


def _key(properties: Element | None) -> bytes:
    return b"" if properties is None else etree.tostring(properties, with_tail=False)


@dataclass
class _Reader:
    """Reads the runs of a paragraph."""

    kind: Kind
    paragraph: Element
    _formats: dict[bytes, Element | None] = field(default_factory=dict)
    _lengths: Counter[bytes] = field(default_factory=Counter)

    def read(self) -> tuple[list[Piece], Element | None]:
        """Return the pieces, and the format of most of the text."""
        found = list(self._elements(self.paragraph))
        for element in found:
            if isinstance(element, _Words):
                self._formats.setdefault(element.key, element.properties)
                self._lengths[element.key] += len(element.text)
        usual = self._lengths.most_common(1)[0][0] if self._lengths else b""
        return list(self._pieces(found, usual)), self._formats.get(usual)

    def _pieces(self, found: Sequence[_Words | Code], usual: bytes) -> Iterator[Piece]:
        current: Code | None = None
        for element in found:
            key = element.key if isinstance(element, _Words) else usual
            if current is not None and current.key != key:
                yield Code(None, Role.CLOSE, current.key)
                current = None
            if isinstance(element, Code):
                yield element
                continue
            if key != usual and current is None:
                current = Code(_Format(element.properties), Role.OPEN, key)
                yield current
            yield element.text
        if current is not None:
            yield Code(None, Role.CLOSE, current.key)

    def _elements(self, parent: Element) -> Iterator[_Words | Code]:
        field_: list[Element] = []
        depth = 0
        for child in parent:
            if child.tag in self.kind.first or child.tag in self.kind.last:
                continue
            depth += _field_steps(child)
            if depth > 0 or field_:
                field_.append(child)
                if depth <= 0:
                    yield Code(tuple(field_), Role.HOLD)
                    field_ = []
            else:
                yield from self._element(child)
        if field_:  # ends in another paragraph
            yield Code(tuple(field_), Role.HOLD)

    def _element(self, child: Element) -> Iterator[_Words | Code]:
        if child.tag == self.kind.text:  # a string of a sheet without runs
            yield _Words(_text_in(child), b"", None)
        elif child.tag == self.kind.run:
            yield from self._run(child)
        elif (inner := self._inside(child)) is not None:
            yield Code(_Around(child, inner), Role.OPEN, child)
            yield from self._elements(inner)
            yield Code(_Around(child, inner), Role.CLOSE, child)
        else:
            yield Code((child,), Role.POINT)

    def _inside(self, child: Element) -> Element | None:
        """Return what holds the runs of an element that stands around some."""
        if child.tag in self.kind.around:
            return child
        return child.find(f"{W}sdtContent") if child.tag == f"{W}sdt" else None

    def _run(self, run: Element) -> Iterator[_Words | Code]:
        properties = run.find(self.kind.properties)
        for child in run:
            if child.tag == self.kind.properties:
                continue
            if child.tag == self.kind.text:
                yield _Words(_text_in(child), _key(properties), properties)
            else:
                yield Code(_Inside(child, properties), Role.POINT)


def _text_in(element: Element) -> str:
    """Return the text of an element, comments in it left out and what is behind them kept."""
    return str(element.xpath("string()"))


def _field_steps(element: Element) -> int:
    """Return how many fields begin in an element, less those that end."""
    steps = 0
    for one in element.iter(f"{W}fldChar"):
        kind = one.get(f"{W}fldCharType")
        steps += (kind == "begin") - (kind == "end")
    return steps


@dataclass(frozen=True, slots=True)
class _Words:
    text: str
    key: bytes
    properties: Element | None


@dataclass(frozen=True, slots=True)
class _Format:
    """The format of a stretch of text."""

    properties: Element | None


@dataclass(frozen=True, slots=True)
class _Around:
    """An element around runs, and the one in it that holds them, which may be itself."""

    outer: Element
    inner: Element


@dataclass(frozen=True, slots=True)
class _Inside:
    """Something in a run that is not text, and the run's format."""

    element: Element
    properties: Element | None


@dataclass
class _Writer:
    """Writes a paragraph anew."""

    kind: Kind
    text: _Text
    _is_bare: bool = False

    def write(self, pieces: Sequence[Piece]) -> None:
        paragraph = self.text.paragraph
        behind = [child for child in paragraph if child.tag in self.kind.last]
        self._is_bare = paragraph.find(self.kind.text) is not None
        for child in list(paragraph):
            if child.tag not in self.kind.first:
                paragraph.remove(child)
        paragraph.text = None
        parents = [paragraph]
        formats: list[Element | None] = [self.text.format]
        for piece in pieces:
            if isinstance(piece, str):
                parents[-1].append(self._words(piece, formats[-1]))
            else:
                self._code(piece, parents, formats)
        paragraph.extend(behind)

    def _code(self, piece: Code, parents: list[Element], formats: list[Element | None]) -> None:
        raw = piece.raw
        if isinstance(raw, _Format):
            formats.append(raw.properties)
        elif raw is None:
            formats.pop()
        elif isinstance(raw, _Inside):
            run = self._run(raw.properties)
            raw.element.tail = None
            run.append(raw.element)
            parents[-1].append(run)
        elif isinstance(raw, tuple):
            parents[-1].extend(raw)
        elif piece.role is Role.OPEN:
            assert isinstance(raw, _Around)
            for child in list(raw.inner):
                raw.inner.remove(child)
            parents[-1].append(raw.outer)
            parents.append(raw.inner)
        else:
            parents.pop()

    def _words(self, text: str, properties: Element | None) -> Element:
        if self._is_bare:  # a string of a sheet without runs
            return self._text(text)
        run = self._run(properties)
        run.append(self._text(text))
        return run

    def _text(self, text: str) -> Element:
        made = self.text.paragraph.makeelement(self.kind.text)
        made.text = suited(text)
        if text != text.strip() and self.kind is not SLIDES:
            made.set(SPACE, "preserve")
        return made

    def _run(self, properties: Element | None) -> Element:
        run = self.text.paragraph.makeelement(self.kind.run)
        if properties is not None:
            run.append(copy.deepcopy(properties))
        return run
