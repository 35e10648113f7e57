"""Which keys of a record hold the two sides of a segment, for JSONL and datasets alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.segments import OTHER_LANGUAGES, UNTRANSLATED, Skipped
from training.corpora.sources import DataSource
from training.corpora.tags import best_names, direction

_SIDES: Final = ("source", "target")
_DEFAULTS: Final = (("source",), ("target",))
_LANGUAGE_KEYS: Final = (
    ("source_lang", "target_lang"),
    ("source_language", "target_language"),
    ("src_lang", "tgt_lang"),
)
_INNER: Final = "translation"
_SHOWN: Final = 10
_SHAPES_KEPT: Final = 1000

_Path = tuple[str, ...]


class RecordSides:
    """Takes both sides out of the records of one file.

    The keys are those of the options `source` and `target`, with "." for a key inside a key, also
    inside "translation"; else the pair's languages in any spelling, in the record or in its
    "translation"; else "source" and "target", which may well be names of a web site or a
    translator beside the text. The first record settles which: a record that would need others is
    refused, for its "source" may not mean what the first one's did. Where a record says beside
    "source" and "target" which languages they are, that counts.
    """

    def __init__(self, source: DataSource, pair: LanguagePair, skipped: Skipped) -> None:
        """Take the options, the languages wanted, and what counts the records left out."""
        self._pair = pair
        self._skipped = skipped
        self._options = {side: source.options[side] for side in _SIDES if side in source.options}
        self._languages = (pair.source, pair.target)
        self._paths: tuple[_Path, _Path] | None = None
        self._shapes: set[tuple[str, ...]] = set()

    def __call__(self, record: Mapping[str, Any], place: str) -> tuple[str, str] | None:
        """Return source and target, None where one is null or for other languages: counted.

        Raises:
            CorpusError: The record lacks a side, or has it under other keys than the first.
        """
        if self._paths is None:
            self._paths = self._settle(record, place)
        self._refuse_other_keys(self._paths, record, place)
        way = self._way(record) if self._paths == _DEFAULTS else 1
        if not way:
            self._skipped[OTHER_LANGUAGES] += 1
            return None
        first, second = (_value(record, path, place) for path in self._paths[::way])
        if first is None or second is None:
            self._skipped[UNTRANSLATED] += 1
            return None
        return first, second

    def _way(self, record: Mapping[str, Any]) -> int:
        """Return -1 where a record says that its source is the pair's target, 0 for neither."""
        for keys in _LANGUAGE_KEYS:
            first, second = (record.get(key) for key in keys)
            if isinstance(first, str) and isinstance(second, str) and first and second:
                return direction(first, second, self._pair)
        return 1

    def _settle(self, record: Mapping[str, Any], place: str) -> tuple[_Path, _Path]:
        if self._options:
            first, second = (self._told(side, record, place) for side in (0, 1))
            return first, second
        own = self._own(record)
        if own is not None:
            return own
        if set(_SIDES) <= set(record):
            return _DEFAULTS
        inner = record.get(_INNER)
        names = tuple(inner if isinstance(inner, Mapping) else record)
        before: _Path = (_INNER,) if isinstance(inner, Mapping) else ()
        one, other = ((*before, _only(names, language, place)) for language in self._languages)
        return one, other

    def _own(self, record: Mapping[str, Any]) -> tuple[_Path, _Path] | None:
        """Return the keys that are the pair's languages, None where one is missing."""
        inner = record.get(_INNER)
        levels: list[tuple[_Path, Mapping[str, Any]]] = [((), record)]
        if isinstance(inner, Mapping):
            levels.append(((_INNER,), inner))
        for before, level in levels:
            found = [best_names(level, language) for language in self._languages]
            if all(len(names) == 1 for names in found):
                return (*before, found[0][0]), (*before, found[1][0])
        return None

    def _told(self, side: int, record: Mapping[str, Any], place: str) -> _Path:
        """Return the path of one side, where an option names it or at least the other."""
        key = self._options.get(_SIDES[side])
        if key is not None:
            return _path_of(record, key)
        for before, level in (((), record), ((_INNER,), record.get(_INNER))):
            if isinstance(level, Mapping):
                found = best_names(level, self._languages[side])
                if len(found) == 1:
                    return (*before, found[0])
        if _SIDES[side] in record:
            return (_SIDES[side],)
        return (_only(tuple(record), self._languages[side], place),)

    def _refuse_other_keys(
        self, paths: tuple[_Path, _Path], record: Mapping[str, Any], place: str
    ) -> None:
        """Refuse languages as keys where the first record had "source" and "target" alone."""
        shape = tuple(record)
        if self._options or paths != _DEFAULTS or shape in self._shapes:
            return
        if len(self._shapes) < _SHAPES_KEPT:
            self._shapes.add(shape)
        own = self._own(record)
        if own is not None:
            names = " and ".join(repr(".".join(path)) for path in own)
            raise CorpusError(
                f"{place}: keys {names}, where the first record has only 'source' and 'target'; "
                "name the keys with #source=KEY&target=KEY",
                field="data",
            )


def _path_of(record: Mapping[str, Any], key: str) -> _Path:
    if key in record:
        return (key,)
    inner = record.get(_INNER)
    if isinstance(inner, Mapping) and key in inner:
        return (_INNER, key)
    return tuple(key.split("."))


def _only(names: Sequence[str], language: str, place: str) -> str:
    found = best_names(names, language)
    if len(found) == 1:
        return found[0]
    why = f"keys {', '.join(found)} are all {language!r}" if found else f"no key for {language!r}"
    raise CorpusError(
        f"{place}: {why} among: {_listed(names)}; name the keys with #source=KEY&target=KEY",
        field="data",
    )


def _value(record: Mapping[str, Any], path: _Path, place: str) -> str | None:
    value: Any = record
    key = ".".join(path)
    for part in path:
        if value is None:
            return None
        if not isinstance(value, Mapping) or part not in value:
            raise CorpusError(
                f"{place}: no key {key!r} among: {_listed(tuple(record))}", field="data"
            )
        value = value[part]
    if value is not None and not isinstance(value, str):
        raise CorpusError(
            f"{place}: {key!r} is {type(value).__name__}, where a string must be", field="data"
        )
    return value


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name[:40] for name in names[:_SHOWN]) or "none"
