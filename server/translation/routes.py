"""The routing table: which adapter serves a pair and a domain when a request names none.

A version that the route alias (`prod`) of its adapter points at, and that was made for this base,
has a route of its own: its pair and its domain. Where several adapters have the same, the one whose
alias was moved last is taken, and the others are said to be shadowed. A routes file overrules this
route by route:

    [[route]]
    pair = "en-ko"
    domain = "medical"             # optional
    adapter = "en-ko-medical@prod"
    rungs = ["en-ko-small@prod"]   # optional: cheaper adapters for times of overload
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import permutations, product
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from hub.bases import Base
from hub.errors import HubError, SettingsError
from hub.languages import LanguagePair, broader, canonical
from hub.refs import AdapterRef, check_domain
from hub.registry import AdapterVersion, Registry
from hub.settings import Settings
from server.access.permits import Permit
from server.messages import Fallback

MAX_RUNGS: Final = 8

Resolve = Callable[[str], AdapterVersion]
Key = tuple[LanguagePair, str]


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """Where requests of a pair and a domain go.

    Attributes:
        ref: What is followed, for example "en-ko-medical@prod".
        version: What it means now.
        rungs: Refs of cheaper adapters of the pair, for times of overload, in order.
        shadowed: Names of adapters that would serve as well and are not chosen.
    """

    pair: LanguagePair
    domain: str
    ref: str
    version: AdapterVersion
    rungs: tuple[str, ...] = ()
    shadowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """All routes, by pair and domain."""

    entries: Mapping[Key, RouteEntry] = field(default_factory=lambda: MappingProxyType({}))

    def find(
        self, asked: LanguagePair, domain: str, allows: Callable[[str], bool] = lambda name: True
    ) -> tuple[RouteEntry, Fallback | None] | None:
        """Return the route of a request and how it falls short of what was asked, None if none.

        The order is: the pair in the domain, the pair in no domain, then the same for the pairs
        that say less: en-pt_PT after en-pt, as in RFC 4647's lookup.

        Args:
            asked: The pair.
            domain: "" for none.
            allows: Tells whether the adapter of a name may serve the request.
        """
        related = product(broader(asked.source), broader(asked.target))
        for source, target in related:
            if source == target:
                continue
            pair = LanguagePair(source, target)
            nearest = None if pair == asked else Fallback.RELATED_LOCALE
            entry = self.entries.get((pair, domain)) if domain else None
            if entry and allows(entry.version.name):
                return entry, nearest
            entry = self.entries.get((pair, ""))
            if entry and allows(entry.version.name):
                return entry, nearest or (Fallback.NO_DOMAIN if domain else None)
        return None

    def permitted(self, permit: Permit) -> RoutingTable:
        """Return the routes to adapters that a caller may use; names of others are left out."""
        if permit.everything:
            return self
        kept = {
            key: replace(
                entry,
                rungs=tuple(
                    ref for ref in entry.rungs if permit.allows(AdapterRef.parse(ref).name)
                ),
                shadowed=tuple(name for name in entry.shadowed if permit.allows(name)),
            )
            for key, entry in self.entries.items()
            if permit.allows(entry.version.name)
        }
        return RoutingTable(MappingProxyType(kept))

    def sorted(self) -> list[RouteEntry]:
        """Return all routes, by pair and domain."""
        return [self.entries[key] for key in sorted(self.entries)]


@dataclass(frozen=True, slots=True)
class ServedPair:
    """A pair that requests may ask for.

    Attributes:
        adapter_version: What serves it without a domain, "" for the base model.
        base: Whether the base model has both languages.
    """

    pair: LanguagePair
    adapter_version: str
    base: bool


def list_pairs(
    table: RoutingTable, languages: Collection[str], source: str = "", target: str = ""
) -> list[ServedPair]:
    """Return the pairs that are served, sorted.

    Args:
        table: The routes.
        languages: The base's languages.
        source: Only pairs with this source language, "" for all.
        target: Likewise.

    Raises:
        LanguageError: A code is not a language.
    """
    wanted = (canonical(source) if source else "", canonical(target) if target else "")
    of_base = {LanguagePair(one, other) for one, other in permutations(languages, 2)}
    found = []
    for pair in sorted(of_base | {pair for pair, domain in table.entries if not domain}):
        if wanted[0] in ("", pair.source) and wanted[1] in ("", pair.target):
            entry = table.entries.get((pair, ""))
            version = entry.version.ref if entry else ""
            found.append(ServedPair(pair, version, pair in of_base))
    return found


class RouteBook:
    """The routing table of a server, as of the last refresh."""

    def __init__(self, build: Callable[[], RoutingTable]) -> None:
        """Build it for the first time.

        Raises:
            HubError: A stated route cannot be served.
        """
        self._build = build
        self._refreshing = Lock()  # else an older table could replace a newer one
        self._table = build()

    def __call__(self) -> RoutingTable:
        """Return the table."""
        return self._table

    def refresh(self) -> None:
        """Build it anew, after the registry or the routes file changed; blocks on both.

        Raises:
            HubError: A stated route cannot be served; the table stays as it was.
        """
        with self._refreshing:
            self._table = self._build()


def open_book(base: Base, registry: Registry, settings: Settings) -> RouteBook:
    """Return the routes of a base from a registry and the routes file of the settings.

    Raises:
        HubError: A stated route cannot be served.
    """

    def build() -> RoutingTable:
        stated = read_routes(settings.routes) if settings.routes is not None else []
        return build_table(registry, settings.route_alias, base.answers_to, stated)

    return RouteBook(build)


@dataclass(frozen=True, slots=True)
class StatedRoute:
    """A route of the routes file."""

    pair: LanguagePair
    domain: str
    adapter: str
    rungs: tuple[str, ...]


class _Route(BaseModel):
    model_config = ConfigDict(extra="forbid")

    pair: str
    adapter: str
    domain: str = ""
    rungs: list[str] = []


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    route: list[_Route] = []


def read_routes(file: Path) -> list[StatedRoute]:
    """Read a routes file.

    Raises:
        SettingsError: It cannot be read, or a route in it is not one; the message says which.
    """
    try:
        parsed = _File.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot read routes from {file}: {error}", field="routes") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{file}: {where}: {first['msg']}", field="routes") from None
    return _stated(file, parsed.route)


def _stated(file: Path, routes: Sequence[_Route]) -> list[StatedRoute]:
    found: dict[Key, StatedRoute] = {}
    for number, route in enumerate(routes, 1):
        where = f"{file}: route {number}"
        try:
            pair, domain = LanguagePair.parse(route.pair), check_domain(route.domain)
            for ref in (route.adapter, *route.rungs):
                AdapterRef.parse(ref)
        except HubError as error:
            raise SettingsError(f"{where}: {error.message}", field="routes") from None
        if len(route.rungs) > MAX_RUNGS:
            raise SettingsError(
                f"{where} has {len(route.rungs)} rungs; at most {MAX_RUNGS} are allowed",
                field="routes",
            )
        if (pair, domain) in found:
            told = f"{pair} in domain {domain!r}" if domain else f"{pair}"
            raise SettingsError(f"{where}: {told} has a route already", field="routes")
        found[pair, domain] = StatedRoute(pair, domain, route.adapter, tuple(route.rungs))
    return list(found.values())


def build_table(
    registry: Registry,
    alias: str,
    is_base: Callable[[str], bool],
    stated: Iterable[StatedRoute] = (),
) -> RoutingTable:
    """Build the table from what the registry holds now. Blocks on it.

    Args:
        registry: Holds the adapters.
        alias: Versions that this alias points at have routes.
        is_base: Whether a digest in a manifest means the base that is served.
        stated: Routes of the routes file.

    Raises:
        HubError: A stated adapter is not there, serves another pair or belongs to another base.
    """
    candidates: dict[Key, list[tuple[datetime, str, AdapterVersion]]] = {}
    for version in registry.find(alias=alias):
        manifest = version.manifest
        if is_base(manifest.base.digest):
            moved = registry.aliases(version.name)[alias].moved_at
            key = manifest.language_pair, manifest.domain
            candidates.setdefault(key, []).append((moved, version.name, version))
    entries = {key: _newest(key, found, alias) for key, found in candidates.items()}
    for route in stated:
        entries[route.pair, route.domain] = _overruled(route, registry.resolve, is_base, entries)
    return RoutingTable(MappingProxyType(entries))


def _newest(key: Key, found: list[tuple[datetime, str, AdapterVersion]], alias: str) -> RouteEntry:
    *others, (_, name, version) = sorted(found, key=lambda one: one[:2])
    shadowed = tuple(sorted(other for _, other, _ in others))
    return RouteEntry(*key, ref=f"{name}@{alias}", version=version, shadowed=shadowed)


def _overruled(
    route: StatedRoute,
    resolve: Resolve,
    is_base: Callable[[str], bool],
    entries: Mapping[Key, RouteEntry],
) -> RouteEntry:
    version = resolve(route.adapter)
    for ref in (route.adapter, *route.rungs):
        _check_route(route, resolve(ref), is_base)
    before = entries.get((route.pair, route.domain))
    names = {before.version.name, *before.shadowed} - {version.name} if before else set()
    return RouteEntry(
        route.pair, route.domain, route.adapter, version, route.rungs, tuple(sorted(names))
    )


def _check_route(
    route: StatedRoute, version: AdapterVersion, is_base: Callable[[str], bool]
) -> None:
    if not version.manifest.language_pair.serves(route.pair):
        raise SettingsError(
            f"the route of {route.pair} names {version.ref}, which translates "
            f"{version.manifest.pair}",
            field="routes",
        )
    if not is_base(version.manifest.base.digest):
        raise SettingsError(
            f"the route of {route.pair} names {version.ref}, which was made for another base "
            f"({version.manifest.base.name!r})",
            field="routes",
        )
