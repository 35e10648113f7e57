"""Which character divides the cells of a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.columns import Columns, named_columns
from training.corpora.sources import DataSource

_NAMES: Final[Mapping[str, str]] = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
# How well a delimiter does, the best first.
_WITH_HEADER, _WITH_COLUMNS, _EVEN, _UNEVEN, _NOT = range(5)


class Sample(NamedTuple):
    """The first lines of a file, and whether they are all."""

    lines: Sequence[str]
    is_whole: bool


def read_rows(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """Yield the rows of CSV; a blank before a cell's quotation mark is passed over."""
    return csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)


def is_blank(row: Sequence[str]) -> bool:
    """Return whether a row comes from a line without anything in it."""
    return len(row) < 2 and not any(cell.strip() for cell in row)


def choose_delimiter(
    source: DataSource, pair: LanguagePair, sample: Sample, columns: Columns, stated: str
) -> str:
    """Return the delimiter: what the option says, or the file, or what divides its rows evenly.

    Args:
        source: With the option `delimiter`.
        pair: Whose languages a header may name.
        sample: The first lines.
        columns: Which columns are wanted.
        stated: What the file says, or "".

    Raises:
        CorpusError: The option is bad, or several delimiters would do as well.
    """
    told = source.options.get("delimiter")
    if told is not None:
        return _told(source, told)
    if stated:
        return stated
    ranks = {name: _rank(name, pair, sample, columns) for name in _NAMES}
    top = min(ranks.values())
    best = [name for name, rank in ranks.items() if rank == top]
    if top == _NOT:  # whatever is taken, the rows say what is wrong
        text = "".join(sample.lines)
        return max(_NAMES.values(), key=text.count)
    if len(best) > 1:
        raise CorpusError(
            f"{source.path}: {' and '.join(best)} may each divide its cells; say which with "
            f"#delimiter={best[0]} or #delimiter={best[1]}",
            field="data",
        )
    return _NAMES[best[0]]


def _told(source: DataSource, told: str) -> str:
    if told in _NAMES.values():
        return told
    if told.lower() not in _NAMES:
        raise CorpusError(
            f"--data {source.typed}: delimiter={told} must be comma, semicolon, tab or pipe",
            field="data",
        )
    return _NAMES[told.lower()]


def _rank(name: str, pair: LanguagePair, sample: Sample, columns: Columns) -> int:
    rows, are_sound = _rows(sample, _NAMES[name])
    counts = {len(row) for row in rows}
    if not rows or max(counts) < 2:
        return _NOT
    if len(counts) > 1 or not are_sound:
        return _UNEVEN
    if named_columns(rows[0], pair) is not None:
        return _WITH_HEADER
    return _WITH_COLUMNS if all(map(columns.fit, rows)) else _EVEN


def _rows(sample: Sample, delimiter: str) -> tuple[list[list[str]], bool]:
    """Return the rows of the sample that are not blank, and whether all of it is CSV."""
    rows: list[list[str]] = []
    try:
        for row in read_rows(sample.lines, delimiter):
            if not is_blank(row):
                rows.append(row)
    except csv.Error as error:
        # The last row of a part may go on in the lines after it.
        return rows, not sample.is_whole and "unexpected end of data" in str(error)
    return rows, True
