"""CSV, as spreadsheets write it: quoted cells, commas or semicolons, often a header."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.lines import LINE_LIMIT, read_lines
from training.corpora.segments import Segment, Skipped
from training.corpora.sources import DataSource
from training.corpora.tables import chosen_columns, has_header
from training.corpora.tags import best

_DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t", ",": ",", ";": ";"}
_NAMED: Final = (("source", "target"), ("src", "tgt"))


def read_csv(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield the rows of a CSV file; cells may hold delimiters, quotation marks and line ends.

    A first row that names the pair's languages, or `source` and `target`, is a header and says
    which columns to take. Otherwise there are two columns, source first, or `#columns=1,3` says
    which; `#header=1` passes the first row over. The delimiter is the one of comma, semicolon and
    tab that the first row has most of, or `#delimiter=semicolon`.

    Raises:
        CorpusError: A row has too few columns, a quotation mark is not closed, or a cell is longer
            than a segment may be.
    """
    path = Path(source.path)
    lines = _Counted(read_lines(path))
    first = next(lines, None)
    if first is None:
        return
    rows = csv.reader(_again(first, lines), delimiter=_delimiter(source, first), strict=True)
    columns = chosen_columns(source)
    header = has_header(source)
    before = csv.field_size_limit(LINE_LIMIT)
    try:
        for number, (line, row) in enumerate(_numbered(path, rows, lines), start=1):
            if number == 1 and columns is None and (named := _columns_of(row, pair)):
                columns, header = named, True
            if not row or (number == 1 and header):
                continue
            yield _segment(path, line, row, columns)
    finally:
        csv.field_size_limit(before)


class _Counted(Iterator[str]):
    """Lines with their ends put back, counted as they are taken."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.taken = 0

    def __next__(self) -> str:
        line = next(self._lines) + "\n"
        self.taken += 1
        return line


def _again(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _numbered(
    path: Path, rows: Iterator[list[str]], lines: _Counted
) -> Iterator[tuple[int, list[str]]]:
    """Yield rows with the line on which each begins."""
    begins = 1
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise CorpusError(
                f"{path}:{begins}: not CSV: {error}; if quotation marks are text, the file is "
                f"tab-separated: say tsv:{path}",
                field="data",
            ) from None
        yield begins, row
        begins = lines.taken + 1


def _delimiter(source: DataSource, first: str) -> str:
    told = source.options.get("delimiter")
    if told is None:
        return max((",", ";", "\t"), key=first.count)
    if told.lower() not in _DELIMITERS:
        raise CorpusError(
            f"--data {source.typed}: delimiter={told} must be comma, semicolon or tab", field="data"
        )
    return _DELIMITERS[told.lower()]


def _columns_of(row: Sequence[str], pair: LanguagePair) -> tuple[int, int] | None:
    """Return the columns that a header names, None where the row is no header."""
    cells = [cell.strip() for cell in row]
    found = [best(cells, language) for language in (pair.source, pair.target)]
    if all(len(tags) == 1 for tags in found):
        return cells.index(found[0][0]), cells.index(found[1][0])
    lower = [cell.lower() for cell in cells]
    for names in _NAMED:
        if all(lower.count(name) == 1 for name in names):
            return lower.index(names[0]), lower.index(names[1])
    return None


def _segment(path: Path, line: int, row: Sequence[str], columns: tuple[int, int] | None) -> Segment:
    first, second = columns or (0, 1)
    if (len(row) != 2) if columns is None else (len(row) <= max(columns)):
        wanted = "2" if columns is None else f"at least {max(columns) + 1}"
        raise CorpusError(
            f"{path}:{line}: {len(row)} column{'s' * (len(row) != 1)}, where {wanted} must be; "
            "choose two of several with #columns=1,3, or say #delimiter=semicolon",
            field="data",
        )
    return Segment(line, row[first], row[second])
