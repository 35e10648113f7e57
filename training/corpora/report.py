"""What reading and cleaning a corpus did, source by source and filter by filter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from training.corpora.clean import Cleaning
from training.corpora.segments import Segment, Skipped

EXAMPLES: Final = 2
_SHOWN: Final = 80


@dataclass
class SourceReport:
    """What became of one source.

    Attributes:
        digest: "sha256:…" of its segments as they were read, before any cleaning.
        skipped: Entries that the format itself marks as no translation, by reason.
        removed: Segments by the filter that removed them.
        examples: For each filter the first few that went: place and text.
    """

    name: str
    format: str
    weight: float
    read: int = 0
    kept: int = 0
    digest: str = ""
    skipped: Skipped = field(default_factory=Skipped)
    removed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def remove(self, filter_name: str, segment: Segment) -> None:
        """Count a removed segment, and keep it as an example if it is one of the first."""
        self.removed[filter_name] += 1
        shown = self.examples.setdefault(filter_name, [])
        if len(shown) < EXAMPLES:
            text = f"{_short(segment.source)} ||| {_short(segment.target)}"
            shown.append(f"{self.name}:{segment.line}: {text}")

    def facts(self) -> dict[str, Any]:
        """Return all as plain data."""
        return {
            "name": self.name,
            "format": self.format,
            "weight": self.weight,
            "read": self.read,
            "kept": self.kept,
            "digest": self.digest,
            "skipped": {name: count for name, count in sorted(self.skipped.items()) if count},
            "removed": dict(sorted(self.removed.items())),
            "examples": self.examples,
            "notes": self.skipped.notes,
        }


@dataclass(frozen=True)
class CorpusReport:
    """What became of all sources.

    Attributes:
        not_judged: Filters that were on but cannot judge the pair.
        overlap: Segments of the chosen training and dev sets that went because of dev and test.
        unused: Segments of the dev and test shares beyond the numbers asked for.
        over_limit: Training segments, copies by weight included, beyond the number asked for.
    """

    sources: tuple[SourceReport, ...]
    cleaning: Cleaning
    not_judged: tuple[str, ...] = ()
    overlap: int = 0
    unused: int = 0
    over_limit: int = 0

    @property
    def read(self) -> int:
        """Return how many segments were read."""
        return sum(source.read for source in self.sources)

    @property
    def removed(self) -> Mapping[str, int]:
        """Return how many segments each filter removed, over all sources."""
        total = sum((source.removed for source in self.sources), Counter[str]())
        if self.overlap:
            total["overlap"] += self.overlap
        return dict(total)

    @property
    def skipped(self) -> Mapping[str, int]:
        """Return how many entries the formats themselves marked as no translation."""
        return dict(sum((source.skipped for source in self.sources), Counter[str]()))

    @property
    def notes(self) -> list[str]:
        """Return what the readers have to say of their sources."""
        return [note for source in self.sources for note in source.skipped.notes]

    def examples(self, filter_name: str) -> list[str]:
        """Return the first few segments that a filter removed."""
        found = [text for source in self.sources for text in source.examples.get(filter_name, [])]
        return found[:EXAMPLES]

    def facts(self) -> dict[str, Any]:
        """Return all as plain data, with examples; for the user's own eyes."""
        return {
            "read": self.read,
            "removed": dict(sorted(self.removed.items())),
            "skipped": dict(sorted(self.skipped.items())),
            "settings": dict(sorted(self.cleaning.settings.items())),
            "not_judged": list(self.not_judged),
            "unused_dev_and_test": self.unused,
            "over_limit": self.over_limit,
            "sources": [source.facts() for source in self.sources],
        }


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
