"""Moses pairs: two text files, parallel by line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Final

from hub.errors import CorpusError, CorpusNotFoundError
from hub.languages import LanguagePair
from training.corpora.lines import read_lines
from training.corpora.segments import Segment, Skipped
from training.corpora.sources import COMPRESSIONS, DataSource, without_compression
from training.corpora.tags import best_names, direction, is_code

_MERE_NAMES: Final = frozenset(
    {("src", "tgt"), ("src", "trg"), ("source", "target"), ("src", "ref")}
)
"""What pairs of files are called whatever their languages, though src and tgt are codes of some."""

_BRACES: Final = re.compile(r"(.*)\{([^{},/]+),([^{},/]+)\}(.*)", re.DOTALL)


def read_moses(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield line by line what two files say, in step.

    Raises:
        CorpusNotFoundError: A file is missing.
        CorpusError: They do not have as many lines as each other.
    """
    one, other = moses_files(source, pair)
    lines, others = read_lines(one), read_lines(other)
    for number, (left, right) in enumerate(zip_longest(lines, others), start=1):
        if left is None or right is None:
            more = 1 + sum(1 for _ in (others if left is None else lines))
            raise _unequal(one, other, number - 1, more if right is None else -more)
        yield Segment(number, left, right)


def _unequal(one: Path, other: Path, common: int, surplus: int) -> CorpusError:
    longer, shorter = (one, other) if surplus > 0 else (other, one)
    return CorpusError(
        f"{longer}:{common + 1}: {longer} has {common + abs(surplus):,} lines, {shorter} "
        f"{common:,}; a pair of files must have as many lines as each other, find the first that "
        "is out of step",
        field="data",
    )


def moses_files(source: DataSource, pair: LanguagePair) -> tuple[Path, Path]:
    """Return the file of the pair's source language and that of its target language.

    Raises:
        CorpusNotFoundError: No file is named like this.
        CorpusError: The names do not say which file is which.
    """
    found = _BRACES.fullmatch(source.path)
    if found:
        before, after = found[1], found[4]
        one, other = _in_order(source, pair, found[2].strip(), found[3].strip())
        return _on_disk(Path(before + one + after)), _on_disk(Path(before + other + after))
    prefix = Path(source.path)
    return _by_suffix(prefix, pair.source, pair), _by_suffix(prefix, pair.target, pair)


def _in_order(source: DataSource, pair: LanguagePair, first: str, second: str) -> tuple[str, str]:
    """Return the two names in braces, that of the pair's source language first."""
    if (first.lower(), second.lower()) in _MERE_NAMES:
        return first, second
    order = direction(first, second, pair)
    if not order and (is_code(first) or is_code(second)):
        raise CorpusError(
            f"--data {source.typed}: {{{first},{second}}} are not the languages of {pair}",
            field="data",
        )
    return (second, first) if order < 0 else (first, second)


def _on_disk(named: Path) -> Path:
    """Return the file that a name means: itself, itself compressed, or in other capitals."""
    names = [named.name, *(named.name + ending for ending in COMPRESSIONS)]
    for name in names:
        if named.with_name(name).is_file():
            return named.with_name(name)
    folded = {name.lower() for name in names}
    alike = [file for file in _files_in(named.parent) if file.name.lower() in folded]
    return alike[0] if len(alike) == 1 else named


def _by_suffix(prefix: Path, language: str, pair: LanguagePair) -> Path:
    files = _beginning_with(prefix)
    tags = [without_compression(file.name)[len(prefix.name) + 1 :] for file in files]
    wanted = set(best_names(tags, language))
    found = [file for file, tag in zip(files, tags, strict=True) if tag in wanted]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(file.name for file in found)
        raise CorpusError(
            f"{prefix}: {names} are all {language!r}; name the pair as "
            f"{prefix}.{{{pair.source},{pair.target}}}",
            field="data",
        )
    raise _nothing(prefix, language)


def _beginning_with(prefix: Path) -> Sequence[Path]:
    return [file for file in _files_in(prefix.parent) if file.name.startswith(f"{prefix.name}.")]


def _files_in(folder: Path) -> Sequence[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.is_file())
    except OSError:
        return []


def _nothing(prefix: Path, language: str) -> CorpusError | CorpusNotFoundError:
    if prefix.is_file():
        return CorpusError(
            f"{prefix}: the name does not say which format the file has; put it in front, as in "
            f"tsv:{prefix}",
            field="data",
        )
    return CorpusNotFoundError(
        f"there is neither a file {prefix} nor a Moses file {prefix}.{language}; known corpora: "
        "cldr, and files in the formats of `hub corpus formats`",
        field="data",
    )
