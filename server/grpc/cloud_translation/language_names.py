"""What languages are called in a language: CLDR's names, which come with Babel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from babel import Locale, UnknownLocaleError

from hub.errors import LanguageError
from hub.languages import canonical


def display_names(codes: Iterable[str], language: str) -> dict[str, str]:
    """Return the name of each language; all empty where no language of names is given.

    Args:
        codes: BCP-47.
        language: Of the names; "" for none.

    Raises:
        LanguageError: CLDR has no names in that language.
    """
    if not language:
        return dict.fromkeys(codes, "")
    try:
        locale = Locale.parse(canonical(language).replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        raise LanguageError(
            f"CLDR has no names of languages in {language[:40]!r}; name another language",
            field="display_language_code",
        ) from None
    names: Mapping[str, str] = locale.languages
    return {code: _name(code, names) for code in codes}


def _name(code: str, names: Mapping[str, str]) -> str:
    key = code.replace("-", "_")
    return str(names.get(key) or names.get(key.partition("_")[0]) or code)
