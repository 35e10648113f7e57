"""What a user says of a base's languages where its own files do not, remembered by its digest.

T5 fine-tunes, Marian groups ("ROMANCE") and ByT5 do not name the languages that they translate.
`--languages` says them once: `en,de,ko`, or with the word that a T5 is asked by,
`en=English,de=German`, or with a token of the vocabulary, `ko=<2ko>`. Of a Marian of one pair it
says the direction: `en>fr`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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
_SHOWN: Final = 8
DIRECTION: Final = ">"
"""Between the two languages of a base that translates one way."""


@dataclass(frozen=True)
class SaidLanguages(Mapping[str, str]):
    """Canonical tags with the word or token that was said for each, "" for none.

    Attributes:
        directed: They are two, and the base translates the first into the second only.
    """

    words: Mapping[str, str]
    directed: bool = False

    def __getitem__(self, tag: str) -> str:
        """Return the word of a language."""
        return self.words[tag]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the languages, in the order in which they were said."""
        return iter(self.words)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.words)


NOTHING_SAID: Final = SaidLanguages({})


def parse_languages(text: str) -> SaidLanguages:
    """Read what `--languages` was given.

    Raises:
        LanguageError: A language is unknown or said twice, a word is too long, or there is none.
    """
    if DIRECTION in text and "=" not in text:
        return _directed(text)
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
    return SaidLanguages(found)


def _directed(text: str) -> SaidLanguages:
    """Read "en>fr"."""
    codes = [canonical(code) for code in text.split(DIRECTION)]
    if len(codes) != 2 or codes[0] == codes[1]:
        raise LanguageError(
            f"--languages {text[:_LONGEST_WORD]!r} is no direction; write two different languages, "
            "as en>fr",
            field="languages",
        )
    return SaidLanguages(dict.fromkeys(codes, ""), directed=True)


def said_languages(base: Base) -> SaidLanguages:
    """Return the languages said of a base: by the base.json beside it, or remembered.

    Raises:
        CorruptBaseError: What was remembered cannot be read.
    """
    recorded = base.record.get("languages") or ()
    if isinstance(recorded, Mapping):
        return SaidLanguages({canonical(str(code)): str(word) for code, word in recorded.items()})
    if recorded:
        return SaidLanguages({canonical(str(code)): "" for code in recorded})
    if not _folder(base).is_dir():  # nothing was ever said, so no digest is needed
        return NOTHING_SAID
    path = _path(base)
    if not path.is_file():
        return NOTHING_SAID
    try:
        return parse_languages(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, LanguageError) as error:
        raise CorruptBaseError(
            f"{path} cannot be read as languages: {error}; remove it and say --languages again"
        ) from None


def remember_languages(base: Base, text: str) -> SaidLanguages:
    """Try what is said of a base, and remember it for all commands to come.

    Raises:
        LanguageError: The text is not a list of languages.
        SettingsError: Others were said before, or the base itself says its languages.
        CorruptBaseError: The base's tokenizer does not load with them.
    """
    said, before = parse_languages(text), said_languages(base)
    if before and spelled(before) != spelled(said):
        known = "its base.json" if base.record.get("languages") else str(_path(base))
        raise SettingsError(
            f"base {base.label!r} has the languages {spelled(before)!r} by {known}; adapters may "
            "have been trained with them. Leave --languages out, or remove that first",
            field="languages",
        )
    if not before:
        _try(base, said)
        _write(_path(base), said)
    return said


def _try(base: Base, said: SaidLanguages) -> None:
    """Load the base's tokenizer with what is said, before it is remembered.

    Raises:
        SettingsError: The base says its languages itself: what is said would not be read.
        CorruptBaseError: It does not load.
    """
    from hub.bases.tokenizer import load_tokenizer

    with tempfile.TemporaryDirectory(prefix="hub-languages-") as scratch:
        trial = replace(base, cache=Path(scratch))
        try:
            own = load_tokenizer(trial).languages
        except CorruptBaseError:  # it needs to be told
            own = frozenset()
        _write(_path(trial), said)
        if load_tokenizer(trial).languages == own:
            raise SettingsError(
                f"base {base.label!r} says its languages itself ({_some_of(own)}); leave "
                "--languages out",
                field="languages",
            )


def _some_of(languages: frozenset[str]) -> str:
    shown = sorted(languages)[:_SHOWN]
    return ", ".join(shown) + (", …" if len(languages) > _SHOWN else "")


def _write(path: Path, said: SaidLanguages) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(".partial")
    staged.write_text(spelled(said) + "\n", encoding="utf-8")
    staged.replace(path)


def spelled(languages: SaidLanguages) -> str:
    """Return languages as `--languages` takes them; the same ones always in the same way."""
    if languages.directed:
        return DIRECTION.join(languages)
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
