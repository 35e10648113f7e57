"""What a user says of a base's languages where its own files do not, remembered by its digest.

T5 fine-tunes, Marian groups ("ROMANCE") and ByT5 do not name the languages that they translate.
`--languages` says them once: `en,de,ko`, or with the word that a T5 is asked by,
`en=English,de=German`, or with a token of the vocabulary, `ko=<2ko>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hub.errors import CorruptBaseError, LanguageError, SettingsError
from hub.languages import canonical
from hub.settings import load_settings

if TYPE_CHECKING:
    from hub.bases.base import Base

FOLDER: Final = "languages"
_MOST: Final = 1000
_LONGEST_WORD: Final = 80


def parse_languages(text: str) -> Mapping[str, str]:
    """Return canonical tags with the word or token that was said for each, "" for none.

    Raises:
        LanguageError: A language is unknown or said twice, a word is too long, or there is none.
    """
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        code, _, word = (piece.strip() for piece in part.partition("="))
        tag = canonical(code)
        if tag in found:
            raise LanguageError(f"--languages says {tag!r} twice", field="languages")
        if len(word) > _LONGEST_WORD or not word.isprintable():
            raise LanguageError(
                f"--languages: the word for {tag!r} must be printable and at most "
                f"{_LONGEST_WORD} characters",
                field="languages",
            )
        found[tag] = word
    if not found or len(found) > _MOST:
        raise LanguageError(
            f"--languages names {len(found)} languages; name 1 to {_MOST}, as en,de,ko or "
            "en=English,de=German",
            field="languages",
        )
    if len({bool(word) for word in found.values()}) > 1:
        raise LanguageError(
            "--languages gives a word for some languages only; give one for each or none",
            field="languages",
        )
    return found


def said_languages(base: Base) -> Mapping[str, str]:
    """Return the languages said of a base: by the base.json beside it, or remembered.

    Raises:
        CorruptBaseError: What was remembered cannot be read.
    """
    recorded = base.record.get("languages") or ()
    if isinstance(recorded, Mapping):
        return {canonical(str(code)): str(word) for code, word in recorded.items()}
    if recorded:
        return {canonical(str(code)): "" for code in recorded}
    if not _folder(base).is_dir():  # nothing was ever said, so no digest is needed
        return {}
    path = _path(base)
    if not path.is_file():
        return {}
    try:
        return parse_languages(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, LanguageError) as error:
        raise CorruptBaseError(
            f"{path} cannot be read as languages: {error}; remove it and say --languages again"
        ) from None


def remember_languages(base: Base, text: str) -> Mapping[str, str]:
    """Remember what is said of a base for all commands to come.

    Raises:
        LanguageError: The text is not a list of languages.
        SettingsError: Others were said before, or the base itself says its languages.
    """
    said = parse_languages(text)
    before = said_languages(base)
    if before and dict(before) != dict(said):
        known = "its base.json" if base.record.get("languages") else str(_path(base))
        raise SettingsError(
            f"base {base.label!r} has the languages {spelled(before)!r} by {known}; adapters may "
            "have been trained with them. Leave --languages out, or remove that first",
            field="languages",
        )
    if not before:
        path = _path(base)
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_suffix(".partial")
        staged.write_text(spelled(said) + "\n", encoding="utf-8")
        staged.replace(path)
    return said


def spelled(languages: Mapping[str, str]) -> str:
    """Return languages as `--languages` takes them."""
    return ",".join(f"{tag}={word}" if word else tag for tag, word in sorted(languages.items()))


def said_text(base: Base) -> str:
    """Return what `--languages` said of a base, "" where the base itself says its languages.

    An adapter names it: with other words, a T5 would be asked for something else.
    """
    return "" if base.record.get("languages") else spelled(said_languages(base))


def _folder(base: Base) -> Path:
    cache = load_settings().cache if base.cache is None else base.cache
    return cache / FOLDER


def _path(base: Base) -> Path:
    return _folder(base) / f"{base.digest.removeprefix('sha256:')}.txt"
