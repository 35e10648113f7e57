"""One segment per line: TSV and JSONL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.lines import read_lines
from training.corpora.segments import Segment, Skipped
from training.corpora.sources import DataSource
from training.corpora.tags import best

_YES: Final = ("1", "yes", "true")
_NO: Final = ("0", "no", "false")


def read_tsv(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield the two columns of a tab-separated file, source first unless `columns` says otherwise.

    There is no quoting: a quotation mark is text.

    Raises:
        CorpusError: A line has another number of columns.
    """
    path = Path(source.path)
    columns = chosen_columns(source)
    first, second = columns or (0, 1)
    header = has_header(source)
    for number, line in enumerate(read_lines(path), start=1):
        cells = line.split("\t")
        if (len(cells) != 2) if columns is None else (len(cells) <= max(columns)):
            raise _wrong_columns(path, number, len(cells), columns)
        if number > 1 or not header:
            yield Segment(number, cells[first], cells[second])


def chosen_columns(source: DataSource) -> tuple[int, int] | None:
    """Return the two columns that `#columns=1,3` names, counted from 0; None without it.

    Raises:
        CorpusError: They are not two numbers from 1.
    """
    text = source.options.get("columns")
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() and int(p) for p in parts):
        raise CorpusError(
            f"--data {source.typed}: columns={text} must be two column numbers from 1, source "
            "first, such as columns=1,3",
            field="data",
        )
    return int(parts[0]) - 1, int(parts[1]) - 1


def has_header(source: DataSource) -> bool:
    """Return whether `#header=1` says that the first row is a header.

    Raises:
        CorpusError: The value is neither 0 nor 1.
    """
    text = source.options.get("header", "0").lower()
    if text not in _YES + _NO:
        raise CorpusError(f"--data {source.typed}: header={text} must be 0 or 1", field="data")
    return text in _YES


def _wrong_columns(
    path: Path, number: int, found: int, columns: tuple[int, int] | None
) -> CorpusError:
    wanted = "2" if columns is None else f"at least {max(columns) + 1}"
    return CorpusError(
        f"{path}:{number}: {found} tab-separated column{'s' * (found != 1)}, where {wanted} "
        "must be; choose two of several with #columns=1,3",
        field="data",
    )


def read_jsonl(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield the two sides in each line's JSON object; empty lines are passed over.

    Raises:
        CorpusError: A line is not a JSON object, or lacks a side.
    """
    path = Path(source.path)
    take = side_taker(source, pair)
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            sides = take(_json_object(path, number, line), f"{path}:{number}")
            yield Segment(number, *sides)


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except RecursionError:
        raise CorpusError(f"{path}:{number}: JSON nested too deeply", field="data") from None
    except ValueError as error:
        raise CorpusError(f"{path}:{number}: not JSON: {error}", field="data") from None
    if not isinstance(found, dict):
        raise CorpusError(
            f"{path}:{number}: a JSON {type(found).__name__}, where an object with a key for each "
            "side must be",
            field="data",
        )
    return found


Taker = Callable[[Mapping[str, Any], str], tuple[str, str]]


def side_taker(source: DataSource, pair: LanguagePair) -> Taker:
    """Return what takes both sides out of a record, for JSONL and datasets alike.

    The keys are those of the options `source` and `target`, with "." for a key inside a key; else
    the pair's languages in any spelling, in the record or in its "translation"; else "source" and
    "target", which may well be names of a web site or a translator beside the text.
    """
    chosen: dict[tuple[str, ...], tuple[str, str]] = {}

    def take(record: Mapping[str, Any], place: str) -> tuple[str, str]:
        inner = record.get("translation")
        flat = inner if isinstance(inner, Mapping) and not source.options else record
        shape = tuple(flat)
        if shape not in chosen:
            chosen[shape] = _keys(source, pair, shape, place)
        first, second = (_value(flat, key, place) for key in chosen[shape])
        return first, second

    return take


def _keys(
    source: DataSource, pair: LanguagePair, shape: tuple[str, ...], place: str
) -> tuple[str, str]:
    defaults = ("source", "target")
    if source.options.keys() & set(defaults):
        first, second = (source.options.get(key, key) for key in defaults)
        return first, second
    own = [best(shape, language) for language in (pair.source, pair.target)]
    if set(defaults) <= set(shape) and not all(own):
        return defaults
    found = [_language_key(shape, language, place) for language in (pair.source, pair.target)]
    return found[0], found[1]


def _language_key(shape: tuple[str, ...], language: str, place: str) -> str:
    found = best(shape, language)
    if len(found) == 1:
        return found[0]
    why = f"keys {', '.join(found)} are all {language!r}" if found else f"no key for {language!r}"
    shown = ", ".join(shape[:10]) or "none"
    raise CorpusError(
        f"{place}: {why} among: {shown}; name the keys with #source=KEY&target=KEY", field="data"
    )


def _value(record: Mapping[str, Any], key: str, place: str) -> str:
    value: Any = record
    for part in (key,) if key in record else key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            shown = ", ".join(list(record)[:10]) or "none"
            raise CorpusError(f"{place}: no key {key!r} among: {shown}", field="data")
        value = value[part]
    if not isinstance(value, str):
        raise CorpusError(
            f"{place}: {key!r} is {type(value).__name__}, where a string must be", field="data"
        )
    return value
