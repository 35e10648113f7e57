"""XLIFF 1.2 and 2.x: the targets of units, with the inline elements of their sources.

1.2: `trans-unit`, or the `mrk mtype="seg"` of its `seg-source`. 2.x: `segment`. Text that is marked
as not to be translated has no unit. A target that is written gets the state "translated", in 1.2
with the qualifier "mt-suggestion".
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lxml import etree

from hub.documents.inline import Code, Inline, Piece, Role, make_inline
from hub.documents.model import Document, Options, Rendered, State, Unit, bounded
from hub.documents.xml_reading import Element, local, read_xml, suited, text_of, write_xml
from hub.errors import DocumentError

_SPACE: Final = "{http://www.w3.org/XML/1998/namespace}space"
_FUZZY: Final = (
    "new needs-adaptation needs-l10n needs-review-adaptation needs-review-l10n "
    "needs-review-translation needs-translation"
)
_FUZZY_STATES: Final = frozenset(_FUZZY.split())
_AROUND: Final = frozenset(("g", "pc", "mrk"))
"""Elements that hold running text."""
_OPENERS: Final = {"bpt": ("rid", "id"), "bx": ("rid", "id"), "sc": ("id",), "sm": ("id",)}
_CLOSERS: Final = {
    "ept": ("rid", "id"), "ex": ("rid", "id"), "ec": ("startRef",), "em": ("startRef",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Segment:
    """A source and the place of its target.

    Attributes:
        mark: Id of a part of the source, None where the source is whole.
    """

    holder: Element
    source: Element
    target: Element | None
    inline: Inline
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class XliffDocument:
    """A file of XLIFF."""

    original: bytes
    tree: etree._ElementTree
    segments: Sequence[_Segment]
    options: Options

    @property
    def units(self) -> Sequence[Unit]:
        """Return the units of its segments."""
        return [one.inline.unit for one in self.segments if one.inline.unit is not None]

    @property
    def language(self) -> str:
        """Return the target language of the file."""
        root = self.tree.getroot()
        files = root.iter("{*}file", "file")
        stated = root.get("trgLang") or next((file.get("target-language") for file in files), "")
        return str(stated or "")

    def render(self, translations: Sequence[str | None]) -> Rendered:
        """Return the file with targets."""
        left = []
        for index, (segment, wanted) in enumerate(zip(self.segments, translations, strict=True)):
            pieces = None if wanted is None else segment.inline.read(wanted)
            if pieces is not None:
                _write(segment, pieces)
            elif wanted is not None:
                left.append(index)
        self._name_language()
        return Rendered(write_xml(self.tree, self.original), tuple(left))

    def _name_language(self) -> None:
        root = self.tree.getroot()
        if not self.options.target:
            return
        if local(root) == "xliff" and root.get("version", "").startswith("2"):
            root.set("trgLang", self.options.target)
            return
        for file in root.iterchildren("{*}file", "file"):
            file.set("target-language", self.options.target)


def read_xliff(data: bytes, options: Options) -> Document:
    """Read XLIFF.

    Raises:
        DocumentError: It is not XML, or not XLIFF.
    """
    tree = read_xml(data)
    root = tree.getroot()
    version = root.get("version", "")
    if local(root) != "xliff":
        raise DocumentError(f"the root element is {local(root)!r}; XLIFF has 'xliff'")
    if version.startswith("1."):
        found = _segments_1(root)
    elif version.startswith("2."):
        found = _segments_2(root)
    else:
        raise DocumentError(f"XLIFF {version!r:.20} is not known; 1.0 to 1.2 and 2.x are")
    return XliffDocument(
        data, tree, list(bounded(one for one in found if one.inline.unit is not None)), options
    )


def _segments_1(root: Element) -> Iterator[_Segment]:
    for unit in root.iter("{*}trans-unit", "trans-unit"):
        if not _is_translated(unit):
            continue
        source, target = _child(unit, "source"), _child(unit, "target")
        if source is None:
            continue
        place = f"unit {unit.get('id', '')!s:.40}"
        parts = list(_marked(_child(unit, "seg-source")))
        translated: dict[str, list[Element]] = {}
        for one in _marked(target) if parts else ():
            translated.setdefault(one.get("mid", ""), []).append(one)
        state = _state_1(target)
        if not parts:
            inline = make_inline(_pieces(source), place, state)
            yield _Segment(unit, source, target, inline)
        for part in parts:
            mark = part.get("mid", "")
            same = translated.get(mark)  # ids may come twice, against the standard: in their order
            there = same.pop(0) if same else None
            own = State.UNTRANSLATED if there is None else state
            inline = make_inline(_pieces(part), f"{place} {mark:.20}", own)
            yield _Segment(unit, part, there, inline, mark)


def _is_translated(element: Element) -> bool:
    """Tell whether text is to be translated: what is said next to it counts."""
    around = (element, *element.iterancestors())
    said = (one.get("translate") for one in around)
    return next((one for one in said if one is not None), "yes") != "no"


def _marked(element: Element | None) -> Iterator[Element]:
    """Yield the segments of an element; one inside of another is a part of that."""
    for one in element.iter("{*}mrk", "mrk") if element is not None else ():
        if one.get("mtype") == "seg" and not _is_inside(one):
            yield one


def _is_inside(segment: Element) -> bool:
    around = segment.iterancestors("{*}mrk", "mrk")
    return any(one.get("mtype") == "seg" for one in around)


def _state_1(target: Element | None) -> State:
    if target is None or not text_of(target).strip():
        return State.UNTRANSLATED
    state = target.get("state", "")
    if state in ("new", "needs-translation"):
        return State.UNTRANSLATED
    return State.FUZZY if state in _FUZZY_STATES else State.TRANSLATED


def _segments_2(root: Element) -> Iterator[_Segment]:
    for segment in root.iter("{*}segment"):
        if not _is_translated(segment):
            continue
        source, target = _child(segment, "source"), _child(segment, "target")
        if source is None:
            continue
        unit = segment.getparent()
        name = "" if unit is None else unit.get("id", "")
        place = " ".join(("unit", name[:40], segment.get("id", "")[:20])).rstrip()
        state = State.UNTRANSLATED
        if target is not None and text_of(target).strip():
            initial = segment.get("state", "translated") == "initial"
            state = State.FUZZY if initial else State.TRANSLATED
        yield _Segment(segment, source, target, make_inline(_pieces(source), place, state))


def _child(element: Element, name: str) -> Element | None:
    return next((one for one in element if local(one) == name), None)


def _pieces(element: Element) -> list[Piece]:
    """Return the running text of an element with its codes."""
    pieces: list[Piece] = [element.text or ""]
    for child in element:
        pieces += _code(child)
        pieces.append(child.tail or "")
    return pieces


def _code(child: Element) -> list[Piece]:
    name = local(child)
    held = child.get("translate") == "no" or child.get("mtype") == "protected"
    if name in _AROUND and not held:
        key = child
        return [Code(child, Role.OPEN, key), *_pieces(child), Code(child, Role.CLOSE, key)]
    return [Code(child, _role(child, name), _key(child, name))]


def _role(child: Element, name: str) -> Role:
    if name in _OPENERS:
        return Role.OPEN
    if name in _CLOSERS:
        return Role.CLOSE
    if name in ("x", "it", "") or (name == "ph" and child.get("type") in ("fmt", "image")):
        is_variable = name == "x" and not child.get("ctype")
        return Role.HOLD if is_variable else Role.POINT
    return Role.HOLD


def _key(child: Element, name: str) -> object:
    for attribute in (*_OPENERS.get(name, ()), *_CLOSERS.get(name, ())):
        if child.get(attribute) is not None:
            return child.get(attribute)
    return None


def _write(segment: _Segment, pieces: Sequence[Piece]) -> None:
    target = segment.target if segment.target is not None else _new_target(segment)
    for child in list(target):
        target.remove(child)
    target.text = ""
    _fill(target, pieces)
    _mark_translated(segment, target)


def _new_target(segment: _Segment) -> Element:
    """Return a new target behind the source, or a new segment in the target of the unit."""
    whole = _child(segment.holder, "target")
    if segment.mark is None:
        return _after_source(segment.holder, segment.source)
    if whole is None:
        before = _child(segment.holder, "seg-source")
        assert before is not None
        whole = _after_source(segment.holder, before)
    if not len(whole):
        whole.text = ""
    made = _like(whole, segment.source)
    made.tail = segment.source.tail
    return made


def _after_source(holder: Element, source: Element) -> Element:
    """Return a new target behind an element, on a line of its own if that has one."""
    name = etree.QName(source)
    target = holder.makeelement(f"{{{name.namespace}}}target" if name.namespace else "target")
    space = source.get(_SPACE)
    if space is not None:
        target.set(_SPACE, space)
    before, is_last = source.getprevious(), source.getnext() is None
    holder.insert(holder.index(source) + 1, target)
    target.tail = source.tail
    if is_last:
        source.tail = holder.text if before is None else before.tail
    return target


def _fill(target: Element, pieces: Sequence[Piece]) -> None:
    """Write pieces into an element; elements around text are open while their text is written."""
    open_: list[Element] = [target]
    for piece in pieces:
        if isinstance(piece, str):
            _append_text(open_[-1], piece)
            continue
        raw = piece.raw
        assert isinstance(raw, etree._Element)
        if local(raw) in _AROUND and piece.role is Role.OPEN:
            open_.append(_like(open_[-1], raw))
        elif local(raw) in _AROUND and piece.role is Role.CLOSE:
            open_.pop()
        else:
            made = copy.deepcopy(raw)
            made.tail = None
            open_[-1].append(made)


def _like(parent: Element, other: Element) -> Element:
    """Append an element with the name and the attributes of another."""
    made = etree.SubElement(parent, other.tag)
    for name, value in other.attrib.items():
        made.set(name, value)
    return made


def _append_text(element: Element, text: str) -> None:
    text = suited(text)
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def _mark_translated(segment: _Segment, target: Element) -> None:
    if local(segment.holder) == "segment":
        segment.holder.set("state", "translated")
        if "subState" in segment.holder.attrib:
            del segment.holder.attrib["subState"]
        return
    whole = _child(segment.holder, "target")
    if whole is not None:
        whole.set("state", "translated")
        whole.set("state-qualifier", "mt-suggestion")
