"""TMX 1.4 (and 1.1): translation units with one variant per language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.inline import FlatText
from training.corpora.segments import OTHER_LANGUAGES, Segment, Skipped
from training.corpora.sources import DataSource
from training.corpora.tags import best
from training.corpora.xml_stream import XML_LANG, parse

SEVERAL_VARIANTS: Final = "with several variants of one language"
_SHOWN: Final = 12
_TAG_SHOWN: Final = 40
_LANGUAGES_KEPT: Final = 1000
"""Tags remembered for messages: a hostile file could have a new one in every unit."""


def read_tmx(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield the units that have both languages of the pair, each unit's line being its `<tu>`'s.

    The variants are those whose language matches the pair best, or those with exactly the tags that
    `#source=TAG&target=TAG` names. A unit with several that match equally well is left out and
    counted.

    Raises:
        CorpusError: Not TMX, or no unit has both languages.
    """
    path = Path(source.path)
    handler = _Units(path, pair, source.options, skipped)
    found = False
    for segment in parse(path, handler, skipped):
        found = True
        yield segment
    if not handler.is_tmx:
        raise CorpusError(
            f"{path}:1: not TMX: there is no <tmx> element, in small letters", field="data"
        )
    if not handler.units:
        raise CorpusError(
            f"{path}: there is no unit in it: no <tu> element, in small letters", field="data"
        )
    if not found and not skipped[SEVERAL_VARIANTS]:
        raise _nothing_for(path, pair, sorted(handler.languages))


def _nothing_for(path: Path, pair: LanguagePair, languages: Sequence[str]) -> CorpusError:
    stated = [tag for tag in languages if tag]
    if not languages:
        what = "its <tu> elements hold no <tuv> with a <seg>"
    elif not stated:
        what = (
            f"its <tuv> elements do not say their language; give each an xml:lang, such as "
            f'xml:lang="{pair.source}"'
        )
    else:
        shown = ", ".join(stated[:_SHOWN])
        what = (
            f"no unit has both languages of {pair}; it has {shown}; name two of them with "
            "#source=TAG&target=TAG"
        )
    return CorpusError(f"{path}: {what}", field="data")


@dataclass
class _Unit:
    """A unit as it is read: its own language, and its variants by theirs."""

    line: int
    language: str
    variants: list[tuple[str, str]] = field(default_factory=list)


class _Units:
    """Collects variants until their unit ends."""

    def __init__(
        self, path: Path, pair: LanguagePair, tags: Mapping[str, str], skipped: Skipped
    ) -> None:
        self.ready: list[Segment] = []
        self.languages: set[str] = set()
        self.is_tmx = False
        self.units = 0
        self._path = path
        self._sides = (("source", pair.source), ("target", pair.target))
        self._tags = tags
        self._skipped = skipped
        self._language = ""
        self._tag = ""
        self._open: list[_Unit] = []
        self._flat: FlatText | None = None

    def start(self, name: str, attributes: dict[str, str], line: int) -> None:
        if self._flat is not None:
            self._flat.start(name, attributes)
        elif name in ("tmx", "body"):
            self.is_tmx |= name == "tmx"
            self._language = attributes.get(XML_LANG, self._language)
        elif name == "tu":
            self.units += 1
            self._open.append(_Unit(line, attributes.get(XML_LANG, self._language)))
        elif name == "tuv" and self._open:
            own = attributes.get(XML_LANG) or attributes.get("lang", "")
            self._tag = own or self._open[-1].language
        elif name == "seg":
            self._flat = FlatText(f"{self._path}:{line}")

    def end(self, name: str) -> None:
        if self._flat is not None:
            if self._flat.has_open:
                self._flat.end()
                return
            if self._open:
                self._open[-1].variants.append((self._tag, self._flat.flat))
            self._flat = None
        elif name == "tu":
            self._finish(self._open.pop())

    def text(self, data: str) -> None:
        if self._flat is not None:
            self._flat.text(data)

    def _finish(self, unit: _Unit) -> None:
        if len(self.languages) < _LANGUAGES_KEPT:
            self.languages.update(tag[:_TAG_SHOWN] for tag, _ in unit.variants)
        source, target = (self._side(unit, *side) for side in self._sides)
        if not source or not target:
            self._skipped[OTHER_LANGUAGES] += 1
        elif len(source) > 1 or len(target) > 1:
            self._skipped[SEVERAL_VARIANTS] += 1
        else:
            self.ready.append(Segment(unit.line, source[0], target[0]))

    def _side(self, unit: _Unit, option: str, language: str) -> list[str]:
        """Return the texts of the variants of one side; those that say the same count once."""
        wanted = self._tags.get(option)
        tags = {wanted} if wanted else set(best([tag for tag, _ in unit.variants], language))
        return list(dict.fromkeys(text for tag, text in unit.variants if tag in tags))
