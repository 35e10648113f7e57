"""TMX 1.4 (and 1.1): translation units with one variant per language."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.segments import Segment, Skipped
from training.corpora.sources import DataSource
from training.corpora.tags import best
from training.corpora.xml_stream import XML_LANG, FlatText, parse

OTHER_LANGUAGES: Final = "without both languages"
_SHOWN: Final = 12


def read_tmx(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield the units that have both languages of the pair, each unit's line being its `<tu>`'s.

    Raises:
        CorpusError: Not TMX, no unit has both languages, or a unit has several variants that
            match one language equally well.
    """
    path = Path(source.path)
    handler = _Units(path, pair, skipped)
    found = False
    for segment in parse(path, handler):
        found = True
        yield segment
    if not handler.is_tmx:
        raise CorpusError(f"{path}:1: not TMX: there is no <tmx> element", field="data")
    if not found and handler.languages:
        shown = ", ".join(sorted(handler.languages)[:_SHOWN])
        raise CorpusError(f"{path}: no unit has both languages of {pair}; it has {shown}")


class _Units:
    """Collects variants until their unit ends."""

    def __init__(self, path: Path, pair: LanguagePair, skipped: Skipped) -> None:
        self.ready: list[Segment] = []
        self.languages: set[str] = set()
        self.is_tmx = False
        self._path = path
        self._pair = pair
        self._skipped = skipped
        self._line = 0
        self._tag = ""
        self._variants: list[tuple[str, str]] = []
        self._flat: FlatText | None = None

    def start(self, name: str, attributes: dict[str, str], line: int) -> None:
        if self._flat is not None:
            self._flat.start(name)
        elif name == "tmx":
            self.is_tmx = True
        elif name == "tu":
            self._line, self._variants = line, []
        elif name == "tuv":
            self._tag = attributes.get(XML_LANG) or attributes.get("lang", "")
        elif name == "seg":
            self._flat = FlatText(f"{self._path}:{line}")

    def end(self, name: str) -> None:
        if name == "seg" and self._flat is not None:
            self._variants.append((self._tag, self._flat.flat))
            self._flat = None
        elif self._flat is not None:
            self._flat.end()
        elif name == "tu":
            self._finish()

    def text(self, data: str) -> None:
        if self._flat is not None:
            self._flat.text(data)

    def _finish(self) -> None:
        if len(self.languages) < 1000:  # a hostile file could have a new one in every unit
            self.languages.update(tag for tag, _ in self._variants)
        source, target = self._side(self._pair.source), self._side(self._pair.target)
        if source is None or target is None:
            self._skipped[OTHER_LANGUAGES] += 1
        else:
            self.ready.append(Segment(self._line, source, target))

    def _side(self, language: str) -> str | None:
        tags = best([tag for tag, _ in self._variants], language)
        if len(tags) > 1:
            raise CorpusError(
                f"{self._path}:{self._line}: the unit's variants {', '.join(tags)} are all "
                f"{language!r}; ask for one of them in --pair",
                field="data",
            )
        return next((text for tag, text in self._variants if tag in tags), None)
