"""What a user types after `--data`, read into a source: where, which format, how much of it.

    [WEIGHT@][FORMAT:]PATH[#KEY=VALUE[&KEY=VALUE…]]

The weight, the format and the options are read from the text alone, never from what lies on the
disk. A number before the first "@" and a known format name before the first ":" count as such only
at the very beginning, so colons and "@" anywhere else belong to the path; a path that itself begins
like one of them is written with "./" in front. The part after "#" counts as options only where it
consists of known keys, each with "=".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

from hub.errors import CorpusError

CLDR: Final = "cldr"
FEEDBACK: Final = "feedback"
MAX_WEIGHT: Final = 100.0

# By format, the options that it knows.
OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "tsv": ("columns", "header"),
    "jsonl": ("source", "target"),
    "moses": (),
    "csv": ("columns", "header", "delimiter"),
    "tmx": ("source", "target"),
    "xliff": ("source", "target"),
    "po": ("language",),
    "hf": ("source", "target", "config", "split"),
    FEEDBACK: ("tenant", "adapter"),
}
FORMATS: Final = tuple(OPTIONS)
_SUFFIXES: Final[Mapping[str, str]] = {
    ".tsv": "tsv",
    ".tab": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".tmx": "tmx",
    ".xlf": "xliff",
    ".xliff": "xliff",
    ".po": "po",
    ".pot": "po",
    ".parquet": "hf",
    ".arrow": "hf",
    ".json": "hf",
}
COMPRESSIONS: Final = (".gz", ".zst")
_WEIGHT: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)@(?=.)", re.ASCII)
_FORMAT: Final = re.compile(rf"({'|'.join(FORMATS)}):(?=.)|({FEEDBACK}):$")
_KEYS: Final = "|".join(sorted({key for keys in OPTIONS.values() for key in keys}))
_QUERY: Final = re.compile(rf"#((?:{_KEYS})=[^#&]*(?:&(?:{_KEYS})=[^#&]*)*)$")


@dataclass(frozen=True)
class DataSource:
    """One place to read segments from.

    Attributes:
        path: A file, a folder, a pair of files with braces or a prefix, or a Hub id for `hf`; for
            `feedback` the URL of a store, "" for the one of the settings.
        format: One of FORMATS.
        weight: How often each segment counts in a pass over the training data.
        options: What the format was told, such as which columns to take.
        typed: The source as the user typed it, for messages.
    """

    path: str
    format: str
    weight: float = 1.0
    options: Mapping[str, str] = field(default_factory=dict)
    typed: str = ""

    @property
    def name(self) -> str:
        """Return the last part of the path: what people call it, without this machine's folders."""
        if self.format == FEEDBACK:
            return FEEDBACK
        return PurePath(self.path).name or self.path

    @property
    def where(self) -> str:
        """Return the place for messages: the path, or a store without its password."""
        if self.format != FEEDBACK:
            return self.path
        from hub.feedback.location import shown

        return f"{FEEDBACK}:{shown(self.path) if self.path else ''}"


def parse_source(text: str) -> DataSource:
    """Read one source.

    Raises:
        CorpusError: The weight or an option is bad, or the format cannot be told from the name.
    """
    weight, rest = _weight(text)
    found = _FORMAT.match(rest)
    query = _QUERY.search(rest)
    options = _options(query[1]) if query else {}
    path = rest[found.end() if found else 0 : query.start() if query else None]
    kind = found[1] or found[2] if found else _guess(path)
    unknown = sorted(set(options) - set(OPTIONS[kind]))
    if unknown:
        known = ", ".join(OPTIONS[kind]) or "none"
        raise _refused(text, f"{kind} has no option {unknown[0]!r}; it has {known}")
    if not path and kind != FEEDBACK:
        raise _refused(text, "there is no path in it")
    return DataSource(path, kind, weight, options, text)


def parse_sources(texts: Sequence[str]) -> tuple[DataSource, ...]:
    """Read the sources of one corpus, none of them twice.

    Raises:
        CorpusError: One is bad, or is named twice.
    """
    sources = tuple(parse_source(text) for text in texts)
    places = [(source.format, source.path, tuple(source.options.items())) for source in sources]
    for index, place in enumerate(places):
        if place in places[:index]:
            raise _refused(sources[index].typed, "it is named twice; give it a weight instead")
    return sources


def endings_of(name: str) -> tuple[str, ...]:
    """Return the endings of file names that tell a format."""
    return tuple(ending for ending, found in _SUFFIXES.items() if found == name)


def without_compression(name: str) -> str:
    """Return a file name without ".gz" or ".zst", in small letters or capitals."""
    for ending in COMPRESSIONS:
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def _weight(text: str) -> tuple[float, str]:
    found = _WEIGHT.match(text)
    if not found:
        return 1.0, text
    weight = float(found[1])
    if not 0 < weight <= MAX_WEIGHT:
        raise _refused(text, f"weight {found[1]} must be above 0 and at most {MAX_WEIGHT:g}")
    return weight, text[found.end() :]


def _options(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split("&"))


def _guess(path: str) -> str:
    """Tell the format by the name; a name without a known ending is a prefix of a Moses pair."""
    plain = without_compression(path)
    return _SUFFIXES.get(PurePath(plain).suffix.lower(), "moses")


def _refused(text: str, why: str) -> CorpusError:
    return CorpusError(f"--data {text}: {why}", field="data")
