"""XLIFF 1.2 and 2.x: what translators and localisation tools exchange."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.inline import FlatText
from training.corpora.segments import Segment, Skipped
from training.corpora.sources import DataSource
from training.corpora.tags import direction, match
from training.corpora.tmx import OTHER_LANGUAGES
from training.corpora.xml_stream import XML_LANG, parse

UNTRANSLATED: Final = "untranslated"
NOT_FOR_TRANSLATION: Final = "not for translation"
NEEDS_WORK: Final = "in a state that needs work"
# States that say the target is no translation for this language yet: 1.2's, and 2.x's. Those that
# ask for a review have a translation.
_OPEN_STATES: Final = frozenset(
    {"new", "needs-translation", "needs-adaptation", "needs-l10n", "initial"}
)
_UNITS: Final = ("trans-unit", "segment")
_SIDES: Final = ("source", "target", "seg-source")
_INHERITED: Final = ("file", "group", "unit", "trans-unit", "body")
_LANGUAGES_KEPT: Final = 1000


def read_xliff(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield the translated units of 1.2's `<trans-unit>` and 2.x's `<segment>`.

    A unit that 1.2 cuts into segments (`<seg-source>`) yields those of them that are translated,
    aligned by `mid`. A file for the opposite direction is read backwards. The target language is
    the pair's where the file does not state it; `#source=TAG&target=TAG` states both. Alternatives
    and matches beside a unit are passed over.

    Raises:
        CorpusError: Not XLIFF, no source language stated, or none of its files is for the pair.
    """
    path = Path(source.path)
    handler = _Units(path, pair, source.options, skipped)
    found = False
    for segment in parse(path, handler):
        found = True
        yield segment
    if not handler.is_xliff:
        raise CorpusError(f"{path}:1: not XLIFF: there is no <xliff> element", field="data")
    if not handler.units:
        raise CorpusError(
            f"{path}: there is no unit in it: neither <trans-unit> nor <segment>", field="data"
        )
    if not found and handler.others:
        shown = ", ".join(sorted(handler.others)[:12])
        raise CorpusError(
            f"{path}: nothing in it is for {pair}; it has {shown}; if its languages are wrong, say "
            "#source=TAG&target=TAG",
            field="data",
        )


@dataclass
class _Unit:
    """One unit as it is read: sides, the segments in them by `mid`, and why it may not count."""

    line: int
    translate: bool
    is_open: bool
    texts: dict[str, str] = field(default_factory=dict)
    parts: dict[str, dict[str, str]] = field(default_factory=dict)
    target_language: str = ""


class _Units:
    """Collects source and target until their unit ends."""

    def __init__(
        self, path: Path, pair: LanguagePair, options: Mapping[str, str], skipped: Skipped
    ) -> None:
        self.ready: list[Segment] = []
        self.others: set[str] = set()
        self.is_xliff = False
        self.units = 0
        self._path = path
        self._pair = pair
        self._options = options
        self._skipped = skipped
        self._parents: list[tuple[str, bool]] = []  # open elements, and whether they translate
        self._languages = ("", "")
        self._unit: _Unit | None = None
        self._side = ""
        self._flat: FlatText | None = None
        self._mid = ""
        self._part: FlatText | None = None
        self._part_depth = 0

    def start(self, name: str, attributes: dict[str, str], line: int) -> None:
        parent, translate = self._parents[-1] if self._parents else ("", True)
        if name in _INHERITED and "translate" in attributes:
            translate = attributes["translate"] != "no"
        self._parents.append((name, translate))
        if self._flat is not None:
            self._inline(name, attributes, line)
        elif name == "xliff":
            self.is_xliff = True
            self._languages = (attributes.get("srcLang", ""), attributes.get("trgLang", ""))
        elif name == "file" and "source-language" in attributes:
            self._languages = (attributes["source-language"], attributes.get("target-language", ""))
        elif name in _UNITS:
            self.units += 1
            self._unit = _Unit(line, translate, attributes.get("state") in _OPEN_STATES)
        elif name in _SIDES and parent in _UNITS and self._unit is not None:
            self._side = name
            self._flat = FlatText(f"{self._path}:{line}")
            if name == "target":
                self._unit.is_open |= attributes.get("state") in _OPEN_STATES
                self._unit.target_language = attributes.get(XML_LANG, "")

    def end(self, name: str) -> None:
        self._parents.pop()
        parent = self._parents[-1][0] if self._parents else ""
        if self._flat is None:
            if name in _UNITS and self._unit is not None:
                self._finish(self._unit)
                self._unit = None
        elif name == self._side and parent in _UNITS and self._unit is not None:
            self._unit.texts[name] = self._flat.flat
            self._flat = None
        else:
            self._flat.end()
            self._end_inline()

    def text(self, data: str) -> None:
        for flat in (self._flat, self._part):
            if flat is not None:
                flat.text(data)

    def _inline(self, name: str, attributes: dict[str, str], line: int) -> None:
        assert self._flat is not None
        self._flat.start(name, attributes)
        if self._part is not None:
            self._part_depth += 1
            self._part.start(name, attributes)
        elif name == "mrk" and attributes.get("mtype") == "seg":
            self._mid, self._part_depth = attributes.get("mid", ""), 0
            self._part = FlatText(f"{self._path}:{line}")

    def _end_inline(self) -> None:
        if self._part is None:
            return
        if self._part_depth:
            self._part_depth -= 1
            self._part.end()
            return
        assert self._unit is not None
        self._unit.parts.setdefault(self._side, {})[self._mid] = self._part.flat
        self._part = None

    def _finish(self, unit: _Unit) -> None:
        way = self._way(unit)
        if not way:
            self._skipped[OTHER_LANGUAGES] += 1
        elif not unit.translate:
            self._skipped[NOT_FOR_TRANSLATION] += 1
        elif unit.is_open and unit.texts.get("target"):
            self._skipped[NEEDS_WORK] += 1
        else:
            for source, target in _pairs(unit):
                if not source or not target:
                    self._skipped[UNTRANSLATED] += 1
                    continue
                sides = (source, target) if way > 0 else (target, source)
                self.ready.append(Segment(unit.line, *sides))

    def _way(self, unit: _Unit) -> int:
        """Return 1 where the unit is for the pair, -1 for its reverse, 0 for other languages."""
        source = self._options.get("source") or self._languages[0]
        target = self._options.get("target") or unit.target_language or self._languages[1]
        if not source:
            raise CorpusError(
                f"{self._path}:{unit.line}: the file does not say its source language; say "
                f"#source={self._pair.source}&target={self._pair.target}",
                field="data",
            )
        pair = self._pair
        if not target:  # optional by the standard: it is the other language of the pair
            return 1 if match(source, pair.source) else -1 if match(source, pair.target) else 0
        way = direction(source, target, pair)
        if not way and len(self.others) < _LANGUAGES_KEPT:
            self.others.add(f"{source} to {target}")
        return way


def _pairs(unit: _Unit) -> Iterator[tuple[str, str]]:
    """Yield source and target, segment by segment where both sides are cut into segments."""
    sources, targets = unit.parts.get("seg-source"), unit.parts.get("target")
    if not sources or targets is None:
        yield unit.texts.get("source", ""), unit.texts.get("target", "")
        return
    for mid, source in sources.items():
        yield source, targets.get(mid, "")
