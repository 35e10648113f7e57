"""Languages as the HTTP APIs see them: those that the caller is served, and their English names."""

from __future__ import annotations

from functools import cache

from babel import Locale

from hub.languages import canonical, choose
from server.access.identity import current_identity
from server.core import Core
from server.translation.routes import ServedPair, list_pairs


@cache
def language_name(code: str) -> str:
    """Return the English name of a language tag; the tag itself where Unicode CLDR has none."""
    names = Locale("en").languages
    parts = code.split("-")
    for length in range(len(parts), 0, -1):
        name = names.get("_".join(parts[:length]))
        if name:
            rest = "-".join(parts[length:])
            return f"{name} ({rest})" if rest else str(name)
    return code


def served_pairs(core: Core) -> list[ServedPair]:
    """Return the pairs that the current caller may ask for, sorted."""
    table = core.routes().permitted(current_identity().permit)
    return list_pairs(table, core.translator.router.languages)


def served_tag(core: Core, code: str) -> str:
    """Return the language tag of a code in any spelling.

    Raises:
        LanguageError: It is no language, or none that the current caller is served.
    """
    tag = canonical(code)
    table = core.routes().permitted(current_identity().permit)
    if not any(tag in (pair.source, pair.target) for pair, _ in table.entries):
        choose(tag, core.translator.router.languages, "this server")
    return tag
