"""Which of a file's languages is the one that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from hub.errors import LanguageError
from hub.languages import LanguagePair, canonical

EXACT: Final = 2
VARIANT: Final = 1
OTHER: Final = 0


_SCRIPTS: Final[Mapping[str, str]] = {"latin": "Latn", "cyrillic": "Cyrl", "arabic": "Arab"}
_NORWEGIAN: Final = ("no", "nb")
"""Norwegian and its usual written form, Bokmål: texts in either are labelled as the other."""


def plain_tag(locale: str) -> str:
    """Return a POSIX locale as a language tag.

    A codeset ("de_DE.UTF-8") is dropped; a modifier is a script where it names one ("sr@latin") and
    dropped otherwise ("ca@valencia", "de_AT@euro").
    """
    rest, _, modifier = locale.strip().partition("@")
    tag = rest.partition(".")[0]
    script = _SCRIPTS.get(modifier.partition(".")[0].lower())
    if script is None or "-" in tag.replace("_", "-").partition("-")[2]:
        return tag
    language, _, region = tag.replace("_", "-").partition("-")
    return "-".join(part for part in (language, script, region) if part)


@lru_cache(maxsize=4096)
def match(tag: str, language: str) -> int:
    """Return EXACT for the same language, VARIANT for a regional form of it, else OTHER.

    Both are compared in canonical spelling, so "en", "eng_Latn" and "en-US" are all exactly "en",
    and "en-GB" is a variant of it. A language asked for with its region or script has no variants.
    Bokmål is a variant of Norwegian and the other way round; Nynorsk is not.
    """
    try:
        found = canonical(plain_tag(tag))
    except LanguageError:
        return OTHER
    if found == language:
        return EXACT
    if found in _NORWEGIAN and language in _NORWEGIAN:
        return VARIANT
    return VARIANT if "-" not in language and found.partition("-")[0] == language else OTHER


def best(tags: Iterable[str], language: str) -> Sequence[str]:
    """Return the tags that match best; more than one means that the choice is the user's."""
    ranked = [(match(tag, language), tag) for tag in tags]
    top = max((rank for rank, _ in ranked), default=OTHER)
    return [tag for rank, tag in ranked if rank == top and rank > OTHER]


def is_language(tag: str) -> bool:
    """Return whether a text names a language at all."""
    try:
        canonical(plain_tag(tag))
    except LanguageError:
        return False
    return True


@lru_cache(maxsize=4096)
def direction(source: str, target: str, pair: LanguagePair) -> int:
    """Return 1 where two tags are the pair, -1 where they are its reverse, 0 where neither."""
    if match(source, pair.source) and match(target, pair.target):
        return 1
    return -1 if match(source, pair.target) and match(target, pair.source) else 0
