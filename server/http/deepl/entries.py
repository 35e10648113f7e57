"""Entries of DeepL's glossaries: lines of tab- or comma-separated values ⇄ terms."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from hub.errors import InputError
from hub.glossaries import Term

FORMATS: Final = ("tsv", "csv")
_COLUMNS: Final = (2, 4)
"""Source and target; in CSV two more may name the languages, which DeepL ignores, too."""


def read_entries(text: str, kind: str) -> tuple[Term, ...]:
    """Return the terms of a glossary's entries.

    Args:
        text: One entry a line.
        kind: "tsv" or "csv".

    Raises:
        InputError: A line is not an entry, a source term comes twice, or there is none.
    """
    if kind not in FORMATS:
        raise InputError(
            f"entries_format {kind[:20]!r} is not known; use {' or '.join(FORMATS)}",
            field="entries_format",
        )
    found: dict[str, str] = {}
    for number, row in _rows(text, kind):
        if len(row) not in (_COLUMNS if kind == "csv" else _COLUMNS[:1]):
            raise InputError(
                f"line {number} of entries has {len(row)} columns, not 2", field="entries"
            )
        source, target = row[0].strip(), row[1].strip()
        if source in found:
            raise InputError(
                f"line {number} of entries: {source[:40]!r} comes twice", field="entries"
            )
        if any(not one.isprintable() for one in (source, target)):
            raise InputError(f"line {number} of entries has a control character", field="entries")
        found[source] = target
    if not found:
        raise InputError("entries are empty; give at least one", field="entries")
    return tuple(Term(source, (target,)) for source, target in found.items())


def _rows(text: str, kind: str) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield numbered lines as columns, blank ones left out."""
    rows: Iterable[Sequence[str]]
    if kind == "tsv":
        rows = (line.split("\t") for line in text.replace("\r\n", "\n").split("\n"))
    else:
        rows = csv.reader(io.StringIO(text, newline=""))
    try:
        for number, row in enumerate(rows, start=1):
            if any(one.strip() for one in row):
                yield number, row
    except csv.Error as error:
        raise InputError(f"entries are not valid CSV: {error}", field="entries") from None


def write_entries(terms: Sequence[Term]) -> str:
    """Return terms as TSV; of several forms of a translation the first."""
    return "\n".join(f"{term.source}\t{term.targets[0]}" for term in terms)
