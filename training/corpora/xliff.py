"""XLIFF 1.2 and 2.x: what translators and localisation tools exchange."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.segments import Segment, Skipped
from training.corpora.sources import DataSource
from training.corpora.tags import direction
from training.corpora.tmx import OTHER_LANGUAGES
from training.corpora.xml_stream import FlatText, parse

UNTRANSLATED: Final = "untranslated"
# States that say the target is no translation yet: 1.2's, and 2.x's.
_OPEN_STATES: Final = frozenset({"new", "needs-translation", "initial"})


def read_xliff(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield the translated units of 1.2's `<trans-unit>` and 2.x's `<segment>`.

    A file for the opposite direction is read backwards. Alternatives and matches beside a unit are
    passed over.

    Raises:
        CorpusError: Not XLIFF, no languages stated, or none of its files is for the pair.
    """
    path = Path(source.path)
    handler = _Units(path, pair, skipped)
    found = False
    for segment in parse(path, handler):
        found = True
        yield segment
    if not handler.is_xliff:
        raise CorpusError(f"{path}:1: not XLIFF: there is no <xliff> element", field="data")
    if not found and handler.others:
        shown = ", ".join(sorted(handler.others)[:12])
        raise CorpusError(f"{path}: nothing in it is for {pair}; it has {shown}", field="data")


class _Units:
    """Collects source and target until their unit ends."""

    def __init__(self, path: Path, pair: LanguagePair, skipped: Skipped) -> None:
        self.ready: list[Segment] = []
        self.others: set[str] = set()
        self.is_xliff = False
        self._path = path
        self._pair = pair
        self._skipped = skipped
        self._parents: list[str] = []
        self._direction = 0
        self._line = 0
        self._open = False
        self._sides: dict[str, str] = {}
        self._side = ""
        self._flat: FlatText | None = None

    def start(self, name: str, attributes: dict[str, str], line: int) -> None:
        parent = self._parents[-1] if self._parents else ""
        self._parents.append(name)
        if self._flat is not None:
            self._flat.start(name)
        elif name == "xliff":
            self.is_xliff = True
            if "srcLang" in attributes:
                self._languages(attributes.get("srcLang"), attributes.get("trgLang"), line)
        elif name == "file" and "source-language" in attributes:
            self._languages(attributes["source-language"], attributes.get("target-language"), line)
        elif name in ("trans-unit", "segment"):
            self._line, self._sides = line, {}
            self._open = attributes.get("state") in _OPEN_STATES
        elif name in ("source", "target") and parent in ("trans-unit", "segment"):
            self._side = name
            self._flat = FlatText(f"{self._path}:{line}")
            self._open |= name == "target" and attributes.get("state") in _OPEN_STATES

    def end(self, name: str) -> None:
        self._parents.pop()
        parent = self._parents[-1] if self._parents else ""
        if self._flat is not None:
            if name == self._side and parent in ("trans-unit", "segment"):
                self._sides[name] = self._flat.flat
                self._flat = None
            else:
                self._flat.end()
        elif name in ("trans-unit", "segment"):
            self._finish()

    def text(self, data: str) -> None:
        if self._flat is not None:
            self._flat.text(data)

    def _languages(self, source: str | None, target: str | None, line: int) -> None:
        if not source or not target:
            raise CorpusError(
                f"{self._path}:{line}: the file does not say its target language; add "
                "target-language (XLIFF 1.2) or trgLang (2.x)",
                field="data",
            )
        self._direction = direction(source, target, self._pair)
        if not self._direction and len(self.others) < 1000:
            self.others.add(f"{source} to {target}")

    def _finish(self) -> None:
        source, target = self._sides.get("source", ""), self._sides.get("target", "")
        if not self._direction:
            self._skipped[OTHER_LANGUAGES] += 1
        elif self._open or not target:
            self._skipped[UNTRANSLATED] += 1
        elif self._direction > 0:
            self.ready.append(Segment(self._line, source, target))
        else:
            self.ready.append(Segment(self._line, target, source))
