"""Languages as the HTTP APIs see them: those that the caller is served, and their English names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Self

from babel import Locale

from hub.languages import LanguagePair, canonical, choose
from server.access.identity import current_identity
from server.core import Core


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


@dataclass(frozen=True, slots=True)
class ServedLanguages:
    """The pairs that a caller may ask for: all of the base's languages, and those of routes.

    A base of 200 languages has 40,000 pairs, so they are not listed where it can be avoided.

    Attributes:
        base: The base's languages.
        routes: Pairs that have a route.
    """

    base: frozenset[str]
    routes: frozenset[LanguagePair]

    @classmethod
    def of(cls, core: Core) -> Self:
        """Return those of the current caller."""
        table = core.routes().permitted(current_identity().permit)
        routes = frozenset(pair for pair, domain in table.entries if not domain)
        languages = frozenset(core.translator.router.languages)
        return cls(languages if len(languages) > 1 else frozenset(), routes)

    @property
    def sources(self) -> frozenset[str]:
        """Return the languages to translate from."""
        return self.base | {pair.source for pair in self.routes}

    @property
    def targets(self) -> frozenset[str]:
        """Return the languages to translate into."""
        return self.base | {pair.target for pair in self.routes}

    def targets_by_source(self) -> dict[str, list[str]]:
        """Return for each source the languages that it is translated into, all sorted."""
        routed: dict[str, set[str]] = {}
        for pair in self.routes:
            routed.setdefault(pair.source, set()).add(pair.target)
        own = {source: self.base - {source} for source in self.base}
        return {
            source: sorted(own.get(source, frozenset()) | routed.get(source, set()))
            for source in sorted(self.sources)
        }


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
