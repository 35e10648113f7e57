"""English names of languages, from Unicode CLDR (Babel)."""

from __future__ import annotations

from functools import cache

from babel import Locale


@cache
def language_name(code: str) -> str:
    """Return the English name of a language tag, the tag itself where CLDR has none."""
    names = Locale("en").languages
    parts = code.split("-")
    for length in range(len(parts), 0, -1):
        name = names.get("_".join(parts[:length]))
        if name:
            rest = "-".join(parts[length:])
            return f"{name} ({rest})" if rest else str(name)
    return code
