"""Which two columns of a table hold the segments, by options, by a header or by their number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.segments import Skipped
from training.corpora.sources import DataSource
from training.corpora.tags import best_names, is_code, is_name, match

_YES: Final = ("1", "yes", "true")
_NO: Final = ("0", "no", "false")
_SOURCES: Final = frozenset(("source", "src", "original", "orig", "msgid"))
_TARGETS: Final = frozenset(("target", "tgt", "trg", "translation", "translated", "msgstr"))
_TEXTS: Final = frozenset(
    ("text", "texts", "sentence", "sentences", "segment", "segments", "string", "strings")
)
_WORDS: Final = _SOURCES | _TARGETS | _TEXTS
"""What stands beside a language's name in a header, as in "text_en" and "German translation"."""

_FILLING: Final = _TEXTS | {"language", "lang", "side"}
_BETWEEN: Final = re.compile(r"[\s_.:/()\[\]-]+")
_NAME_LENGTH: Final = 80
_CODE: Final = re.compile(r"[a-z]{2,3}(?:[-_](?:[a-z]{2}|[a-z]{4}|[0-9]{3}))*", re.IGNORECASE)
_SHOWN: Final = 8


class Columns:
    """Takes the two sides out of each row of one table."""

    def __init__(
        self, source: DataSource, pair: LanguagePair, skipped: Skipped, *, kind: str = ""
    ) -> None:
        """Take the options.

        Args:
            source: With the options `columns` and `header`.
            pair: The languages wanted.
            skipped: Hears of a header that was recognised.
            kind: What a column is called in messages, such as "tab-separated ".

        Raises:
            CorpusError: An option is bad.
        """
        self._source = source
        self._pair = pair
        self._languages = (pair.source, pair.target)
        self._skipped = skipped
        self._kind = kind
        self._chosen = _chosen_columns(source)
        self._has_header = _has_header(source)

    def take_header(self, row: Sequence[str]) -> bool:
        """Return whether the first row is a header; learn from it which columns to take.

        Raises:
            CorpusError: It names a language more than once, and no option says which to take.
        """
        if self._has_header is False:
            return False
        if self._chosen is not None:
            return self._has_header or self._names_chosen(row, self._chosen)
        self._refuse_ambiguous(row)
        named = named_columns(row, self._pair)
        if named is None:
            self._refuse_other_languages(row)
            return bool(self._has_header)
        self._chosen = named
        first, second = named
        self._skipped.notes.append(
            f"{self._source.name}: its first row is a header; source is column {first + 1} "
            f"({row[first].strip()}), target column {second + 1} ({row[second].strip()})"
        )
        return True

    def fit(self, row: Sequence[str]) -> bool:
        """Return whether a row has the columns that are wanted."""
        if self._chosen is not None:
            return len(row) > max(self._chosen)
        return len(_trimmed(row)) == 2

    def sides(self, path: Path, line: int, row: Sequence[str]) -> tuple[str, str]:
        """Return source and target.

        Raises:
            CorpusError: The row has too few columns, or too many to know which.
        """
        if not self.fit(row):
            raise self.wrong(path, line, row)
        first, second = self._chosen or (0, 1)
        return row[first], row[second]

    def wrong(self, path: Path, line: int, row: Sequence[str]) -> CorpusError:
        """Return the error of a row that does not have the columns that are wanted."""
        wanted = "2" if self._chosen is None else f"at least {max(self._chosen) + 1}"
        count = len(row)
        what = f"{count} {self._kind}column{'s' * (count != 1)}, where {wanted} must be"
        if count < 2:
            advice = self._other_format(path, "".join(row))
        else:
            shown = " | ".join(cell.strip()[:30] for cell in row[:_SHOWN])
            advice = f"it has: {shown}; choose two of several with #columns=1,3, source first"
        return CorpusError(f"{path}:{line}: {what}; {advice}", field="data")

    def _other_format(self, path: Path, text: str) -> str:
        if self._source.format == "tsv" and ("," in text or ";" in text):
            return f"if commas or semicolons divide it, say csv:{path}"
        return (
            "each line must hold source and target, divided by a tab"
            if self._source.format == "tsv"
            else "neither comma, semicolon, tab nor | divides it in two"
        )

    def _names_chosen(self, row: Sequence[str], chosen: tuple[int, int]) -> bool:
        """Return whether the chosen cells of a row are names; say if they contradict the pair."""
        if max(chosen) >= len(row):
            return False
        names = [row[column] for column in chosen]
        if named_columns(names, self._pair) is None:
            return False
        if named_columns(names, self._pair) == (1, 0):
            self._skipped.notes.append(
                f"{self._source.name}: by its header {names[0].strip()} was chosen as source and "
                f"{names[1].strip()} as target of {self._pair}; if that is wrong, swap the "
                "columns"
            )
        return True

    def _refuse_ambiguous(self, row: Sequence[str]) -> None:
        cells = [_plain(cell) for cell in row]
        found = [best_names(cells, language) for language in self._languages]
        for language, names in zip(self._languages, found, strict=True):
            if all(found) and len(names) > 1:
                raise CorpusError(
                    f"{self._source.path}: columns {', '.join(names)} of its header are all "
                    f"{language!r}; choose two with #columns=1,3, source first",
                    field="data",
                )

    def _refuse_other_languages(self, row: Sequence[str]) -> None:
        """Refuse a header that names other languages; as a segment it would say nothing."""
        cells = [cell for cell in map(_plain, row) if cell]
        if self._has_header or len(set(cells)) < 2:
            return
        own = any(match(c, language) for c in cells for language in self._languages)
        if all(map(is_name, cells)) or (own and all(map(_is_short_code, cells))):
            raise CorpusError(
                f"{self._source.path}: its first row names {', '.join(cells[:_SHOWN])}, not the "
                f"languages of {self._pair}; if it is right, choose the columns with "
                "#columns=1,2&header=1, or say #header=0 where the row is a segment",
                field="data",
            )


def named_columns(row: Sequence[str], pair: LanguagePair) -> tuple[int, int] | None:
    """Return the columns that a header names, None where the row is no header.

    The names are the pair's languages by code or name, such as `en` and `German`; such with a word
    for what is in the column, as `text_en`; or words for both sides, as `source` and `target`.
    """
    cells = [_plain(cell) for cell in row]
    languages = (pair.source, pair.target)
    by_language = [
        [cells.index(name) for name in best_names(cells, language)] for language in languages
    ]
    by_content = [
        [place for place, cell in enumerate(cells) if _is_text_in(cell, language)]
        for language in languages
    ]
    by_side = [
        [place for place, cell in enumerate(cells) if _is_side(cell, words)]
        for words in (_SOURCES, _TARGETS)
    ]
    for first, second in (by_language, by_content, by_side):
        if len(first) == len(second) == 1 and first != second:
            return first[0], second[0]
    return None


def _plain(cell: str) -> str:
    """Return a cell as a name, "" where it is too long for one."""
    return cell.strip().strip("\ufeff'\"").strip() if len(cell) <= _NAME_LENGTH else ""


def _is_short_code(cell: str) -> bool:
    return _CODE.fullmatch(cell) is not None and is_code(cell)


def _is_text_in(cell: str, language: str) -> bool:
    """Return whether a cell is such as "text_en" or "German translation"."""
    words = [word for word in _BETWEEN.split(cell) if word]
    rest = [word for word in words if word.lower() not in _WORDS]
    return len(rest) == 1 < len(words) and match(rest[0], language) > 0


def _is_side(cell: str, sides: frozenset[str]) -> bool:
    """Return whether a cell is such as "source", "src" or "source text"."""
    words = [word for word in _BETWEEN.split(cell.lower()) if word]
    named = [word for word in words if word not in _FILLING]
    return len(named) == 1 and named[0] in sides


def _chosen_columns(source: DataSource) -> tuple[int, int] | None:
    """Return the two columns that `#columns=1,3` names, counted from 0; None without it."""
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


def _has_header(source: DataSource) -> bool | None:
    """Return whether `#header=1` or `#header=0` says that the first row is a header."""
    text = source.options.get("header")
    if text is None:
        return None
    if text.lower() not in _YES + _NO:
        raise CorpusError(f"--data {source.typed}: header={text} must be 0 or 1", field="data")
    return text.lower() in _YES


def _trimmed(row: Sequence[str]) -> Sequence[str]:
    """Return a row of two columns without the empty ones that a delimiter at its end leaves."""
    end = len(row)
    while end > 2 and not row[end - 1].strip():
        end -= 1
    return row[:end]
