"""Which of a file's languages is the one that was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from hub.errors import LanguageError
from hub.languages import LanguagePair, canonical

EXACT: Final = 2
VARIANT: Final = 1
OTHER: Final = 0


_SCRIPTS: Final[Mapping[str, str]] = {"latin": "Latn", "cyrillic": "Cyrl", "arabic": "Arab"}
_OF_CHINESE: Final[Mapping[str, str]] = {"chs": "Hans", "cht": "Hant"}
"""Windows' old names for the scripts of Chinese."""

_NORWEGIAN: Final = ("no", "nb")
"""Norwegian and its usual written form, Bokmål: texts in either are labelled as the other."""

_LONGEST: Final = 80
"""Characters of a tag or a name of a language; anything longer is none."""

_NAMED: Final = re.compile(r"([^()]+?)\s*\(([^()]+)\)")
_UNFILLED: Final = frozenset(("language", "ll", "ll_cc", "ll-cc"))
"""What catalogues say where nobody filled in the language."""


class PlainTag(NamedTuple):
    """A language tag of language, script and region, and whether the text said more."""

    tag: str
    is_narrower: bool = False


def plain_tag(locale: str) -> PlainTag:
    """Return a POSIX locale, or any language tag, without what says more than a language's name.

    A codeset ("de_DE.UTF-8") is dropped; a modifier is a script where it names one ("sr@latin") and
    dropped otherwise ("ca@valencia", "de_AT@euro"). Variants and extensions are dropped
    ("de-1996", "ca-ES-valencia", "de_DE_formal"). "" stands for a placeholder of a template.
    """
    rest, _, modifier = locale.strip().partition("@")
    tag = rest.partition(".")[0]
    if tag.lower() in _UNFILLED:
        return PlainTag("")
    language, *more = re.split(r"[-_]", tag)
    if not more and not modifier:
        return PlainTag(tag)
    kept, dropped = _subtags(language, more)
    script = _SCRIPTS.get(modifier.partition(".")[0].lower())
    if script is not None and not any(len(part) == 4 for part in kept):
        kept.insert(0, script)
    return PlainTag("-".join((language, *kept)), dropped)


def _subtags(language: str, parts: Sequence[str]) -> tuple[list[str], bool]:
    """Return the script and region among a tag's parts, and whether there are others."""
    kept: list[str] = []
    for place, part in enumerate(parts):
        if language.lower() == "zh" and part.lower() in _OF_CHINESE:
            kept.append(_OF_CHINESE[part.lower()])
        elif _is_kept(part, place):
            kept.append(part)
        else:
            return kept, True
    return kept, False


def _is_kept(part: str, place: int) -> bool:
    """Return whether a part is a script, a region, or (only first) an extended language."""
    if part.isdigit():
        return len(part) == 3
    return part.isalpha() and (len(part) in (2, 4) or (len(part) == 3 and place == 0))


def match(tag: str, language: str) -> int:
    """Return EXACT for the same language, VARIANT for a regional form of it, else OTHER.

    Both are compared in canonical spelling, so "en", "eng_Latn" and "en-US" are all exactly "en",
    and "en-GB" is a variant of it, as are tags that say more ("de-1996"). The language's own name
    and its English one are as good as its code. A language asked for with its region or script has
    no variants. Bokmål is a variant of Norwegian and the other way round; Nynorsk is not.
    """
    return _match(tag, language) if len(tag) <= _LONGEST else OTHER


@lru_cache(maxsize=4096)
def _match(tag: str, language: str) -> int:
    plain = plain_tag(tag)
    try:
        found = canonical(plain.tag)
    except LanguageError:
        return _match_name(tag, language)
    if found == language:
        return VARIANT if plain.is_narrower else EXACT
    if found in _NORWEGIAN and language in _NORWEGIAN:
        return VARIANT
    return VARIANT if "-" not in language and found.partition("-")[0] == language else OTHER


def _match_name(text: str, language: str) -> int:
    """Tell languages by name: "German", "Deutsch", "German (de)", "German (Germany)"."""
    name, inner = text.strip(), ""
    if found := _NAMED.fullmatch(name):
        name, inner = found[1], found[2]
        if is_code(inner):
            return match(inner, language)
    if name.casefold() not in _names(language):
        return OTHER
    return VARIANT if inner else EXACT


@lru_cache(maxsize=256)
def _names(language: str) -> frozenset[str]:
    """Return what a language is called in English and in itself, in small letters."""
    from babel import Locale
    from babel.core import UnknownLocaleError

    key = language.replace("-", "_")
    names = {Locale("en").languages.get(key)}
    try:
        own = Locale.parse(key)
        names.add(own.languages.get(key))
    except (UnknownLocaleError, ValueError):
        pass
    return frozenset(name.casefold() for name in names if name)


def best(tags: Iterable[str], language: str) -> Sequence[str]:
    """Return the tags that match best; more than one means that the choice is the user's."""
    ranked = [(match(tag, language), tag) for tag in tags]
    top = max((rank for rank, _ in ranked), default=OTHER)
    return [tag for rank, tag in ranked if rank == top and rank > OTHER]


def best_names(names: Iterable[str], language: str) -> Sequence[str]:
    """Return the names of columns or files that match best.

    Unlike a tag, a name that says more than language, script and region is none of a language:
    "de_score" is no German.
    """
    return best([name for name in names if not plain_tag(name).is_narrower], language)


def is_code(tag: str) -> bool:
    """Return whether a text is the code of a language."""
    try:
        canonical(plain_tag(tag).tag)
    except LanguageError:
        return False
    return True


def is_name(text: str) -> bool:
    """Return whether a text is the English name of a language."""
    return text.casefold() in _english_names()


@lru_cache(maxsize=1)
def _english_names() -> frozenset[str]:
    from babel import Locale

    return frozenset(name.casefold() for name in Locale("en").languages.values())


@lru_cache(maxsize=4096)
def direction(source: str, target: str, pair: LanguagePair) -> int:
    """Return 1 where two tags are the pair, -1 where they are its reverse, 0 where neither."""
    if match(source, pair.source) and match(target, pair.target):
        return 1
    return -1 if match(source, pair.target) and match(target, pair.source) else 0
