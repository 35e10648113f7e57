"""From a BCP-47 tag to the one token of a vocabulary that means it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from hub.errors import LanguageError
from hub.languages import canonical, choose


def languages_of(codes: Iterable[str]) -> Mapping[str, str]:
    """Return canonical tags with the codes of a vocabulary; codes of no language are left out.

    Where several codes mean one tag, the shortest has it: "fr" before "fr_FR".
    """
    found: dict[str, str] = {}
    for code in sorted(codes, key=lambda one: (len(one), one)):
        tag = tag_of(code)
        if tag is not None:
            found.setdefault(tag, code)
    return MappingProxyType(found)


def tag_of(code: str) -> str | None:
    """Return the canonical tag of a code, None where it names no language."""
    try:
        return canonical(code)
    except LanguageError:
        return None


def find_code(language: str, table: Mapping[str, str], name: str) -> str:
    """Return the code of a language.

    A tag that says more than the table can (pt-PT) gets the language's code; one that says less
    (zh, where the table has zh-Hans and zh-Hant) is refused.

    Args:
        language: In any spelling.
        table: Canonical tags with codes.
        name: Of the base, for the message.

    Raises:
        LanguageError: There is none, or there are several.
    """
    return table[choose(language, table, f"the base model {name}")]
