"""HTML: running text is translated, everything else comes out as it went in, to the byte.

Tags inside of a sentence are taken out of what the model reads, and put back by its alignment;
elements that are not to be translated (`translate="no"`, `class="notranslate"`, `code`, `kbd` and
others) are placeholders in it. What is not text is never written anew, only copied.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from server.translation.documents import Rendered, Unit, details_of
from server.translation.html_scan import scan
from server.translation.html_text import escape
from server.translation.html_tree import read_tree
from server.translation.html_units import (
    HtmlUnit,
    attribute_units,
    label_of,
    make_unit,
    running_text,
)
from server.translation.offsets import UnitTranslation
from server.translation.placeholders import Finder, finder_of
from server.translation.placing import Placed, place_marks
from server.translation.restoring import Restored, restore


@dataclass(frozen=True, slots=True)
class HtmlDocument:
    """A page or a part of one."""

    html: str
    found: tuple[HtmlUnit, ...]
    finder: Finder

    @property
    def units(self) -> Sequence[Unit]:
        """Return the page's text, in order; the text of an attribute after that around it."""
        return tuple(
            Unit(one.masked.text, bool(one.marks or one.masked.masks)) for one in self.found
        )

    def render(self, translations: Sequence[UnitTranslation | None]) -> Rendered:
        """Return the page with its text translated."""
        pages = _Page(self.html, self.finder)
        pairs = list(zip(self.found, translations, strict=True))
        for unit, translation in pairs:
            if unit.quote:
                pages.write_attribute(unit, translation)
        for unit, translation in pairs:
            if not unit.quote:
                pages.write_text(unit, translation)
        return Rendered(pages.finish(), details_of(pages.placeholders, pages.tags))


def html_units(html: str, keep: Sequence[str] = ()) -> HtmlDocument:
    """Return a page as a document; any text is one, however broken.

    Args:
        html: A page, or a part of one.
        keep: Spans of text that stay as they are.
    """
    finder = finder_of(tuple(keep))
    tokens = list(scan(html))
    tree = read_tree(html, tokens)
    found = [make_unit(html, items, finder) for items in running_text(html, tokens, tree)]
    units = [one for one in found if one is not None]
    units += attribute_units(html, tokens, tree, finder)
    units.sort(key=lambda one: one.start)
    return HtmlDocument(html, tuple(units), finder)


class _Page:
    """A page that is being written."""

    def __init__(self, html: str, finder: Finder) -> None:
        self._html = html
        self._finder = finder
        self._pieces: list[str] = []
        self._done = 0
        self._starts: list[int] = []  # of attributes that were translated
        self._values: list[tuple[int, str]] = []  # their ends, and what is written for them
        self.placeholders: list[str] = []
        self.tags: list[str] = []

    def write_attribute(self, unit: HtmlUnit, translation: UnitTranslation | None) -> None:
        """Note the value of an attribute, for when its tag is written."""
        if translation is None or translation.text == unit.masked.text:
            return
        found = restore(unit.masked, translation, self._finder)
        self.placeholders += found.repaired
        written: list[str] = []
        _Unit(self, unit, found).text(0, len(found.translation.text), written)
        self._starts.append(unit.start)
        self._values.append((unit.end, "".join(written)))

    def write_text(self, unit: HtmlUnit, translation: UnitTranslation | None) -> None:
        """Write what comes before a unit, and the unit."""
        self._pieces.append(self.raw(self._done, unit.start))
        self._done = unit.end
        if translation is None or translation.text == unit.masked.text:
            self._pieces.append(self.raw(unit.start, unit.end))
            return
        found = restore(unit.masked, translation, self._finder)
        self.placeholders += found.repaired
        fixed = [(start, end) for start, end, _ in found.places]
        placed = place_marks(unit.masked.text, unit.marks, found.translation, fixed)
        writer = _Unit(self, unit, found)
        writer.within(placed, 0, len(found.translation.text), self._pieces)

    def finish(self) -> str:
        """Write the rest and return the page."""
        self._pieces.append(self.raw(self._done, len(self._html)))
        return "".join(self._pieces)

    def raw(self, start: int, end: int) -> str:
        """Return a piece of the page as it is, but for attributes that were translated."""
        index = bisect_left(self._starts, start)
        pieces: list[str] = []
        while index < len(self._starts) and self._starts[index] < end:
            pieces.append(self._html[start : self._starts[index]])
            start, value = self._values[index]
            pieces.append(value)
            index += 1
        return "".join((*pieces, self._html[start:end]))

    def label(self, span: tuple[int, int]) -> str:
        """Return what a tag is called in a warning."""
        return label_of(self._html, span)


class _Unit:
    """A translated unit that is being written."""

    def __init__(self, page: _Page, unit: HtmlUnit, found: Restored) -> None:
        self._page = page
        self._unit = unit
        self._text = found.translation.text
        self._places = found.places
        self._starts = [start for start, _, _ in found.places]

    def within(self, placed: Sequence[Placed], start: int, end: int, pieces: list[str]) -> None:
        """Write `start:end` of the translation with its tags."""
        for one in placed:
            self.text(start, one.start, pieces)
            begin, close = self._unit.tags[one.mark.key]
            if not one.sure:
                self._page.tags.append(self._page.label(begin))
            pieces.append(self._page.raw(*begin))
            if begin != close:
                self.within(one.children, one.start, one.end, pieces)
                pieces.append(self._page.raw(*close))
            start = one.end
        self.text(start, end, pieces)

    def text(self, start: int, end: int, pieces: list[str]) -> None:
        """Write `start:end` of the translation, which holds no tags."""
        index = bisect_left(self._starts, start)
        while index < len(self._places) and self._places[index][0] < end:
            first, last, key = self._places[index]
            pieces.append(escape(self._text[start:first], self._unit.quote))
            pieces.append(self._page.raw(*self._unit.held[key]))
            start = last
            index += 1
        pieces.append(escape(self._text[start:end], self._unit.quote))
