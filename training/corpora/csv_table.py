"""CSV, as spreadsheets write it: quoted cells, commas or semicolons, often a header."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.columns import Columns
from training.corpora.csv_delimiter import Sample, choose_delimiter, is_blank, read_rows
from training.corpora.lines import LINE_LIMIT, read_lines
from training.corpora.segments import Segment, Skipped
from training.corpora.sources import DataSource

_SEPARATOR: Final = re.compile(r"\"?sep=(.)\"?\s*", re.IGNORECASE)
"""The line by which Excel says the delimiter."""

_SAMPLE_LINES: Final = 500
_SAMPLE_SIZE: Final = 1 << 20


def read_csv(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield the rows of a CSV file; cells may hold delimiters, quotation marks and line ends.

    A first row that names the pair's languages, or source and target, is a header and says which
    columns to take. Otherwise there are two columns, source first, or `#columns=1,3` says which;
    `#header=1` passes the first row over, `#header=0` takes it for a segment. The delimiter is the
    one that divides the first rows into equally many columns, or `#delimiter=semicolon`; a first
    line "sep=;" says it, too.

    Raises:
        CorpusError: A row has too few columns, a quotation mark is not closed, a cell is longer
            than a segment may be, or several delimiters would do.
    """
    path = Path(source.path)
    columns = Columns(source, pair, skipped)
    with _long_cells():
        is_first = True
        for line, row in _rows(source, pair, columns):
            if not (is_first and columns.take_header(row)):
                yield Segment(line, *columns.sides(path, line, row))
            is_first = False


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let cells be as long as a segment may be."""
    before = csv.field_size_limit(LINE_LIMIT)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _rows(
    source: DataSource, pair: LanguagePair, columns: Columns
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the line on which it begins."""
    path = Path(source.path)
    lines = (f"{line}\n" for line in read_lines(path))
    sample = _sample(lines)
    stated = _SEPARATOR.fullmatch(sample.lines[0]) if sample.lines else None
    counted = _Counted(chain(sample.lines, lines))
    if stated:
        next(counted)
        sample = Sample(sample.lines[1:], sample.is_whole)
    delimiter = choose_delimiter(source, pair, sample, columns, stated[1] if stated else "")
    for line, row in _numbered(path, read_rows(counted, delimiter), counted):
        if not is_blank(row):
            yield line, row


def _sample(lines: Iterator[str]) -> Sample:
    """Take the first lines, by which the delimiter is told."""
    taken: list[str] = []
    size = 0
    for line in islice(lines, _SAMPLE_LINES):
        taken.append(line)
        size += len(line)
        if size > _SAMPLE_SIZE:
            break
    else:
        return Sample(taken, len(taken) < _SAMPLE_LINES)
    return Sample(taken, is_whole=False)


class _Counted(Iterator[str]):
    """Lines, counted as they are taken."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.taken = 0

    def __next__(self) -> str:
        line = next(self._lines)
        self.taken += 1
        return line


def _numbered(
    path: Path, rows: Iterator[list[str]], lines: _Counted
) -> Iterator[tuple[int, list[str]]]:
    """Yield rows with the line on which each begins."""
    begins = lines.taken + 1
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise CorpusError(
                f"{path}:{begins}: not CSV: {error}; a quotation mark inside a quoted cell is "
                'written twice (""), and a backslash is text; if quotation marks are text, the '
                f"file is tab-separated: say tsv:{path}",
                field="data",
            ) from None
        yield begins, row
        begins = lines.taken + 1
