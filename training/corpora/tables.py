"""One segment per line: TSV and JSONL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.columns import Columns
from training.corpora.lines import read_lines
from training.corpora.record_keys import RecordSides
from training.corpora.segments import Segment, Skipped
from training.corpora.sources import DataSource

_BOM: Final = "\ufeff"


def read_tsv(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield the two columns of a tab-separated file, source first.

    A first row that names the columns is a header and says which to take, unless `columns` does.
    There is no quoting: a quotation mark is text. Blank lines at the end are passed over.

    Raises:
        CorpusError: A line has another number of columns.
    """
    path = Path(source.path)
    columns = Columns(source, pair, skipped, kind="tab-separated ")
    blank = 0
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip(" "):
            blank = blank or number
            continue
        if blank:
            raise columns.wrong(path, blank, [""])
        cells = line.split("\t")
        if number > 1 or not columns.take_header(cells):
            yield Segment(number, *columns.sides(path, number, cells))


def read_jsonl(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield the two sides in each line's JSON object; empty lines are passed over.

    A side that is null is untranslated, left out and counted.

    Raises:
        CorpusError: A line is not a JSON object, or lacks a side.
    """
    path = Path(source.path)
    take = RecordSides(source, pair, skipped)
    for number, line in enumerate(read_lines(path), start=1):
        text = line.strip().removeprefix(_BOM)  # one stands in each part of joined files
        if not text:
            continue
        sides = take(_json_object(path, number, text), f"{path}:{number}")
        if sides is not None:
            yield Segment(number, *sides)


class _RepeatedKeyError(ValueError):
    """An object has a key twice, so that one of the values would be lost."""


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    place = f"{path}:{number}"
    try:
        found = json.loads(line, object_pairs_hook=_unique)
    except RecursionError:
        raise CorpusError(f"{place}: JSON nested too deeply", field="data") from None
    except _RepeatedKeyError as error:
        raise CorpusError(f"{place}: {error}; keep one of them", field="data") from None
    except ValueError as error:
        raise CorpusError(f"{place}: not JSON: {error}{_over_lines(line)}", field="data") from None
    if isinstance(found, dict):
        return found
    what = (
        f"{place}: a JSON {type(found).__name__}, where an object with a key for each side must be"
    )
    if isinstance(found, list):
        what += "; one list of all is turned into lines with jq -c '.[]'"
    raise CorpusError(what, field="data")


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RepeatedKeyError(f"the key {twice[:40]!r} stands in it twice")
    return found


def _over_lines(line: str) -> str:
    """Return the advice for JSON that goes on in the next line, "" where this one is wrong."""
    if line not in ("{", "[", "[{"):
        return ""
    command = "jq -c ." if line == "{" else "jq -c '.[]'"
    return f"; each line must hold one object, bring the file into this form with {command}"
