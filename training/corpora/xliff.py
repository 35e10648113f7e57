"""XLIFF 1.2 and 2.x: what translators and localisation tools exchange."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.inline import FlatText
from training.corpora.plurals import PluralForms, read_plural_forms
from training.corpora.segments import (
    NO_COUNTERPART,
    OTHER_LANGUAGES,
    UNTRANSLATED,
    Paired,
    Segment,
    Skipped,
)
from training.corpora.sources import DataSource
from training.corpora.tags import direction, match
from training.corpora.xliff_units import Part, Unit, pair_plurals, pair_segments
from training.corpora.xml_stream import XML_LANG, parse

NOT_FOR_TRANSLATION: Final = "not for translation"
NEEDS_WORK: Final = "in a state that needs work"
SEVERAL_SIDES: Final = "with a side more than once"
UNSTATED: Final = "without a stated source language"
UNALIGNED: Final = "segment without counterpart"
# States that say the target is no translation for this language yet: 1.2's, and 2.x's. Those that
# ask for a review have a translation.
_OPEN_STATES: Final = frozenset(
    {"new", "needs-translation", "needs-adaptation", "needs-l10n", "initial"}
)
_UNITS: Final = ("trans-unit", "segment")
_SIDES: Final = ("source", "target", "seg-source")
_INHERITED: Final = ("file", "group", "unit", "trans-unit", "body")
# How the XLIFF of gettext catalogues marks a message with plural forms, and the header.
_PLURALS: Final = "x-gettext-plurals"
_PO_HEADER: Final = "x-gettext-domain-header"
_LANGUAGES_KEPT: Final = 1000
_TAG_SHOWN: Final = 40


def read_xliff(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield the translated units of 1.2's `<trans-unit>` and 2.x's `<segment>`.

    A unit that 1.2 cuts into segments (`<seg-source>`) yields those of them that are translated,
    aligned by `mid`. Units that are the plural forms of one gettext message are paired as a
    catalogue's are. A file for the opposite direction is read backwards. The target language is
    the pair's where the file does not state it; `#source=TAG&target=TAG` states both. Alternatives
    and matches beside a unit are passed over.

    Raises:
        CorpusError: Not XLIFF, no source language stated, or none of its files is for the pair.
    """
    path = Path(source.path)
    handler = _Units(path, pair, source.options, skipped)
    found = False
    for segment in parse(path, handler, skipped):
        found = True
        yield segment
    if not handler.is_xliff:
        raise CorpusError(
            f"{path}:1: not XLIFF: there is no <xliff> element, in small letters", field="data"
        )
    if not handler.units:
        raise CorpusError(
            f"{path}: there is no unit in it: neither <trans-unit> nor <segment>", field="data"
        )
    if not found and handler.unstated:
        raise CorpusError(
            f"{path}:{handler.unstated}: the file does not say its source language; say "
            f"#source={pair.source}&target={pair.target}",
            field="data",
        )
    if not found and handler.others:
        shown = ", ".join(sorted(handler.others)[:12])
        raise CorpusError(
            f"{path}: nothing in it is for {pair}; it has {shown}; if its languages are wrong, say "
            "#source=TAG&target=TAG",
            field="data",
        )


class _Units:
    """Collects source and target until their unit ends."""

    def __init__(
        self, path: Path, pair: LanguagePair, options: Mapping[str, str], skipped: Skipped
    ) -> None:
        self.ready: list[Segment] = []
        self.others: set[str] = set()
        self.is_xliff = False
        self.units = 0
        self.unstated = 0
        """The line of the first unit whose source language is stated nowhere."""
        self._path = path
        self._pair = pair
        self._options = options
        self._skipped = skipped
        self._parents: list[tuple[str, bool]] = []  # open elements, and whether they translate
        self._root_languages = ("", "")
        self._languages = ("", "")
        self._unit: Unit | None = None
        self._plurals: list[Unit] | None = None
        self._plurals_depth = 0
        self._plural_forms: PluralForms | None = None
        self._side = ""
        self._flat: FlatText | None = None
        self._part: Part | None = None
        self._part_depth = 0

    def start(self, name: str, attributes: dict[str, str], line: int) -> None:
        parent, translate = self._parents[-1] if self._parents else ("", True)
        if name in _INHERITED and "translate" in attributes:
            translate = attributes["translate"].lower() != "no"
        self._parents.append((name, translate))
        if self._flat is not None:
            self._inline(name, attributes, line)
        elif name == "xliff":
            self.is_xliff = True
            self._root_languages = (attributes.get("srcLang", ""), attributes.get("trgLang", ""))
            self._languages = self._root_languages
        elif name == "file":
            self._start_file(attributes)
        elif name == "group" and attributes.get("restype") == _PLURALS:
            self._plurals, self._plurals_depth = [], len(self._parents)
        elif name in _UNITS:
            self._start_unit(attributes, line, translate=translate)
        elif name in _SIDES and parent in _UNITS and self._unit is not None:
            self._start_side(self._unit, name, attributes, line)

    def _start_file(self, attributes: dict[str, str]) -> None:
        source, target = self._root_languages
        self._languages = (
            attributes.get("source-language", source),
            attributes.get("target-language", target),
        )
        self._plural_forms = None

    def _start_unit(self, attributes: dict[str, str], line: int, *, translate: bool) -> None:
        self.units += 1
        self._unit = Unit(
            line,
            name=attributes.get("id", ""),
            translate=translate,
            is_open=attributes.get("state", "").lower() in _OPEN_STATES,
            is_header=attributes.get("restype") == _PO_HEADER,
        )

    def _start_side(self, unit: Unit, name: str, attributes: dict[str, str], line: int) -> None:
        self._side = name
        self._flat = FlatText(f"{self._path}:{line}")
        unit.languages[name] = attributes.get(XML_LANG, "")
        if name == "target":
            unit.is_open |= attributes.get("state", "").lower() in _OPEN_STATES

    def end(self, name: str) -> None:
        self._parents.pop()
        if self._flat is None:
            self._end_structure(name)
        elif self._flat.has_open:
            self._flat.end()
            self._end_inline()
        else:
            assert self._unit is not None
            self._unit.add(name, self._flat.flat)
            self._flat = None

    def _end_structure(self, name: str) -> None:
        if name in _UNITS and self._unit is not None:
            unit, self._unit = self._unit, None
            if unit.is_header:
                self._read_header(unit)
            elif self._plurals is None:
                self._finish(unit)
            else:
                self._plurals.append(unit)
        elif self._plurals is not None and len(self._parents) < self._plurals_depth:
            units, self._plurals = self._plurals, None
            self._finish_plurals(units)

    def text(self, data: str) -> None:
        if self._flat is None:
            return
        self._flat.text(data)
        if self._part is not None:
            self._part.flat.text(data)
        elif self._unit is not None and not self._flat.in_code and data.strip():
            self._unit.outside.add(self._side)

    def _inline(self, name: str, attributes: dict[str, str], line: int) -> None:
        assert self._flat is not None
        self._flat.start(name, attributes)
        if self._part is not None:
            self._part_depth += 1
            self._part.flat.start(name, attributes)
        elif name == "mrk" and attributes.get("mtype") == "seg":
            self._part = Part(attributes.get("mid", ""), FlatText(f"{self._path}:{line}"))
            self._part_depth = 0

    def _end_inline(self) -> None:
        if self._part is None:
            return
        if self._part_depth:
            self._part_depth -= 1
            self._part.flat.end()
            return
        assert self._unit is not None
        self._unit.parts.setdefault(self._side, []).append(self._part)
        self._part = None

    def _finish(self, unit: Unit) -> None:
        way = self._usable_way(unit)
        if way:
            self._yield(unit, way, pair_segments(unit), UNALIGNED)

    def _finish_plurals(self, units: list[Unit]) -> None:
        ways = [self._usable_way(unit) for unit in units]
        usable = [way for way in ways if way]
        if not usable:
            return
        language = self._pair.target if usable[0] > 0 else self._pair.source
        paired = Paired([], len(usable))
        if len(usable) == len(ways):
            paired = pair_plurals(units, self._plural_forms, language)
        self._yield(units[0], usable[0], paired, NO_COUNTERPART)

    def _yield(self, unit: Unit, way: int, paired: Paired, left: str) -> None:
        """Give on what is translated, and count the rest; `left` is the reason without a pair."""
        for source, target in paired.pairs:
            if source and target:
                sides = (source, target) if way > 0 else (target, source)
                self.ready.append(Segment(unit.line, *sides))
            else:
                self._skipped[UNTRANSLATED] += 1
        if paired.left:
            self._skipped[left] += paired.left

    def _read_header(self, unit: Unit) -> None:
        """Learn from the header of a gettext catalogue what the plural forms mean."""
        try:
            self._plural_forms = read_plural_forms(unit.target or unit.source)
        except ValueError:  # the language's usual forms count
            self._plural_forms = None

    def _usable_way(self, unit: Unit) -> int:
        """Return the way of a unit, 0 where it does not count, and say why."""
        way = self._way(unit)
        if way is None:
            reason = UNSTATED
            self.unstated = self.unstated or unit.line
        elif not way:
            reason = OTHER_LANGUAGES
        elif not unit.translate:
            reason = NOT_FOR_TRANSLATION
        elif unit.is_open and unit.target:
            reason = NEEDS_WORK
        elif unit.is_repeated:
            reason = SEVERAL_SIDES
        else:
            return way
        self._skipped[reason] += 1
        return 0

    def _way(self, unit: Unit) -> int | None:
        """Return 1 where the unit is for the pair, -1 for its reverse, 0 for other languages.

        None stands for a unit whose source language is stated nowhere.
        """
        source, target = (
            self._options.get(side) or unit.languages.get(side) or stated
            for side, stated in zip(("source", "target"), self._languages, strict=True)
        )
        pair = self._pair
        if not source:
            return None
        if not target:  # optional by the standard: it is the other language of the pair
            return 1 if match(source, pair.source) else -1 if match(source, pair.target) else 0
        way = direction(source, target, pair)
        if not way and len(self.others) < _LANGUAGES_KEPT:
            self.others.add(f"{source[:_TAG_SHOWN]} to {target[:_TAG_SHOWN]}")
        return way
