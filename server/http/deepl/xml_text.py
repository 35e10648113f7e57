"""`tag_handling=xml`: which stretches of an XML text are translated, and which tags go with them.

An element either splits (a paragraph, a title) or belongs to the sentence that it stands in (bold,
a link). The caller may name either kind; of the others, where the outline is to be detected, those
split that stand beside no words. What stands in a sentence becomes HTML, whose tags the server
places by the alignment of the words; all else is copied.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from hub.documents import Unit
from hub.documents.inline import Code, Inline, Piece, Role, make_inline
from hub.documents.model import HTML
from hub.documents.xml_reading import read_xml
from hub.errors import DocumentError, EngineError, InputError

MAX_CHARACTERS: Final = 1_000_000
"""Of one text; its tree takes many times more memory."""
_PROLOGUE: Final = re.compile(r"\s*(?:<\?xml\b[^>]*\?>\s*)?(?:<!DOCTYPE[^\[<>]*>)?")
_TOKEN: Final = re.compile(
    r"(?P<comment><!--.*?-->|<\?.*?\?>)"
    r"|<!\[CDATA\[(?P<cdata>.*?)\]\]>"
    r"|</(?P<end>[^\s>]+)\s*>"
    r"|<(?P<begin>[^\s/>]+)(?:[^\"'>]|\"[^\"]*\"|'[^']*')*?(?P<empty>/?)>"
    r"|(?P<text>[^<]+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class TagRules:
    """Which elements split.

    Attributes:
        detect: Whether the outline is detected; else only the named ones split.
        splitting: Names of elements that do.
        joining: Names of elements that do not.
        ignored: Names of elements that stay as they are.
    """

    detect: bool = True
    splitting: frozenset[str] = frozenset()
    joining: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Element:
    """An element, or what is no element: a name of "" with raw text.

    Attributes:
        begin: Its tag, or the raw text.
        words: Decoded text, of what is text.
    """

    name: str
    begin: str
    end: str = ""
    words: str = ""
    children: list[_Element] = field(default_factory=list)

    @property
    def raw(self) -> str:
        return self.begin + "".join(one.raw for one in self.children) + self.end


@dataclass(frozen=True, slots=True)
class XmlText:
    """An XML text: raw stretches, and running text between them."""

    parts: tuple[str | Inline, ...]

    @property
    def units(self) -> list[Unit]:
        """Return what is translated, in order."""
        return [one.unit for one in self.parts if isinstance(one, Inline) and one.unit is not None]

    def render(self, translations: Sequence[str]) -> str:
        """Return the text with its units replaced.

        Raises:
            EngineError: The tags of a translation are not those of its unit.
        """
        left = iter(translations)
        return "".join(one if isinstance(one, str) else _written(one, left) for one in self.parts)


def read_xml_text(text: str, rules: TagRules) -> XmlText:
    """Read an XML text: a document, or a part of one with any number of roots.

    Raises:
        InputError: It is not well-formed, declares entities, or is too long.
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            f"a text of XML has {len(text):,} characters; at most {MAX_CHARACTERS:,} are allowed, "
            "so send it in parts",
            field="text",
        )
    found = _PROLOGUE.match(text)
    head = found[0] if found and found[0].strip() else ""
    body = text[len(head) :]
    try:
        read_xml(f"<r>{body}</r>".encode("utf-8", "surrogatepass"), "the text")
    except DocumentError as error:
        raise InputError(f"Tag handling parsing failed: {error.message}", field="text") from None
    outline = _Outline(rules)
    outline.walk(_tree(body))
    outline.flush()
    return XmlText((head, *outline.parts))


def _tree(body: str) -> _Element:
    """Return a well-formed text as a tree under an element without a name."""
    root = _Element("", "")
    opened = [root]
    for token in _TOKEN.finditer(body):
        if token["end"]:
            opened.pop().end = token[0]
            continue
        made = _Element(token["begin"] or "", token[0])
        if token["text"] is not None:
            made.words = html.unescape(token[0])
        elif token["cdata"] is not None:
            made.words = token["cdata"]
        opened[-1].children.append(made)
        if token["begin"] and not token["empty"]:
            opened.append(made)
    return root


@dataclass
class _Outline:
    """Cuts a tree into raw stretches and running text."""

    rules: TagRules
    parts: list[str | Inline] = field(default_factory=list)
    _pieces: list[Piece] = field(default_factory=list)

    def walk(self, parent: _Element) -> None:
        mixed = any(one.words.strip() for one in parent.children)
        for one in parent.children:
            if one.words:
                self._pieces.append(one.words)
            elif not one.name:
                self._pieces.append(Code(one.raw, Role.POINT))
            elif self._splits(one.name, mixed):
                self._split(one)
            elif one.name in self.rules.ignored:
                self._pieces.append(Code(one.raw, Role.HOLD))
            elif not one.end:
                self._pieces.append(Code(one.raw, Role.POINT))
            else:
                self._pieces.append(Code(one.begin, Role.OPEN, id(one)))
                self.walk(one)
                self._pieces.append(Code(one.end, Role.CLOSE, id(one)))

    def _splits(self, name: str, mixed: bool) -> bool:
        rules = self.rules
        if name in rules.splitting:
            return True
        return rules.detect and not mixed and name not in rules.joining

    def _split(self, element: _Element) -> None:
        self.flush()
        if element.name in self.rules.ignored:
            self.parts.append(element.raw)
            return
        self.parts.append(element.begin)
        self.walk(element)
        self.flush()
        self.parts.append(element.end)

    def flush(self) -> None:
        """End the running text."""
        if self._pieces:
            self.parts.append(make_inline(self._pieces, "text"))
            self._pieces = []


def _written(inline: Inline, translations: Iterator[str]) -> str:
    if inline.unit is None:
        return "".join(map(_raw, (*inline.before, *inline.after)))
    translation = next(translations)
    pieces = inline.read(translation)
    if pieces is None:
        raise EngineError("the tags of a translation are not those of its source")
    return "".join(map(_raw, pieces))


def _raw(piece: Piece) -> str:
    return html.escape(piece, quote=False) if isinstance(piece, str) else str(piece.raw)


def as_html(unit: Unit) -> str:
    """Return a unit as HTML, whatever its type is, so that all go together."""
    return unit.text if unit.mime_type == HTML else html.escape(unit.text, quote=False)


def of_html(unit: Unit, translation: str) -> str:
    """Return the translation of what `as_html` returned, in the unit's type."""
    return translation if unit.mime_type == HTML else html.unescape(translation)
