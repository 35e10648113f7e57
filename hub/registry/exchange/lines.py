"""A few lines in a language to try an adapter on, where no corpus is at hand."""

from __future__ import annotations

from typing import Final

_FIXED: Final = ("2026-11-26, 14:30", "1 + 1 = 2", "Hello world!")


def lines_of(language: str) -> list[str]:
    """Return short lines in a language, from CLDR's names; some are the same in every language."""
    from babel import Locale, UnknownLocaleError

    try:
        locale = Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        return list(_FIXED)
    months = list(locale.months["format"]["wide"].values())
    days = list(locale.days["format"]["wide"].values())
    places = [name for code, name in sorted(locale.territories.items()) if len(code) == 2]
    tongues = [name for _, name in sorted(locale.languages.items())]
    return [
        ", ".join(months[:3]), f"{days[0]}, 5 {months[5]} 2026", ", ".join(days),
        ", ".join(places[10:14]), "; ".join(tongues[20:24]), *_FIXED,
    ]  # fmt: skip
