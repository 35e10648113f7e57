"""Which adapter translates: what a caller asked for → one immutable version, or the base.

A request that names an adapter gets that one or an error. A request that names none follows the
routing table (`server.translation.routes`), and the base model translates where no route leads.
Everything behind this point is keyed by digest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from hub.errors import (
    AdapterNotFoundError,
    HubError,
    LanguageError,
    PairMismatchError,
    WrongBaseError,
)
from hub.languages import LanguagePair, canonical, choose
from hub.refs import check_domain
from hub.registry import AdapterVersion
from server.access.permits import EVERYTHING, Permit
from server.messages import Fallback
from server.quality.canary.book import Arm
from server.residency.tables import BASE
from server.translation.routes import RouteEntry, RoutingTable

BASE_REF: Final = "base"
"""What a request names for the base model alone."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes.

    Attributes:
        pair: As it is served: the adapter's pair, or the base's languages.
        version: The adapter, None for the base model alone.
        requested: The ref that the request or its route named; "" for the base.
        fallback: Why it is not what was asked for.
        arm: Of the canary behind the ref, None where none runs.
        rungs: Refs of adapters of the pair that may take over from a routed one, before the base
            does; None where the adapter was named, and where it is the base already.
    """

    pair: LanguagePair
    version: AdapterVersion | None
    requested: str = ""
    fallback: Fallback | None = None
    arm: Arm | None = None
    rungs: tuple[str, ...] | None = None

    @property
    def digest(self) -> str:
        """Return what the request's adapter is known by in every cache."""
        return BASE if self.version is None else self.version.digest

    @property
    def adapter_version(self) -> str:
        """Return "name:version", "" for the base model."""
        return "" if self.version is None else self.version.ref

    @property
    def adapter_bytes(self) -> int:
        """Return the size of the adapter's files."""
        return 0 if self.version is None else self.version.bytes


Split = Callable[[str, AdapterVersion, Callable[[], bytes]], tuple[AdapterVersion, Arm | None]]


def whole(
    ref: str, version: AdapterVersion, key: Callable[[], bytes]
) -> tuple[AdapterVersion, Arm | None]:
    """Send all requests of a ref to the version that it means."""
    return version, None


@dataclass(frozen=True, slots=True)
class Router:
    """Resolves requests against the registry and the base.

    Attributes:
        resolve: Ref → version; raises HubError.
        languages: BCP-47 codes that the base's tokenizer has.
        base_name: For messages.
        base_digest: For messages.
        is_base: Whether a digest in a manifest means the base; adapters of others are refused.
        table: Returns the routing table as it is now.
        overloaded: Whether cheaper rungs are to be served now.
        split: Ref, its version and a request's key → the version that serves it, and its arm.
        knows: Whether a ref is resolved at once.
    """

    resolve: Callable[[str], AdapterVersion]
    languages: frozenset[str]
    base_name: str
    base_digest: str
    is_base: Callable[[str], bool]
    table: Callable[[], RoutingTable] = RoutingTable
    overloaded: Callable[[], bool] = lambda: False
    split: Split = whole
    knows: Callable[[str], bool] = lambda ref: False

    def at_once(self, adapter: str) -> bool:
        """Tell whether a request for an adapter is routed without asking the registry."""
        ref = adapter.strip()
        if ref in ("", BASE_REF):
            return not self.overloaded()  # else rungs may be resolved
        return self.knows(ref)

    def route(
        self,
        source: str,
        target: str,
        adapter: str,
        domain: str = "",
        *,
        require_adapter: bool = False,
        permit: Permit = EVERYTHING,
        key: Callable[[], bytes] = bytes,
    ) -> Route:
        """Decide who translates. Blocks on the registry.

        Args:
            source: Language code, in any spelling.
            target: Likewise.
            adapter: A ref, "base", or "" for the routing table.
            domain: Narrows the route of a request without an adapter.
            require_adapter: Refuse every fallback.
            permit: Which adapters the caller may use; others do not exist for it.
            key: Returns what the request is assigned by, where a canary runs.

        Raises:
            LanguageError: A code is unknown, unsupported by the base, or both mean the same;
                `field` names the code at fault.
            RefError: The ref has none of the known forms, or the domain is not a label.
            AdapterNotFoundError: Nothing answers to the ref, or no route leads to an adapter that
                is required.
            PairMismatchError: The adapter was made for another pair, or for a variety of this one.
            WrongBaseError: The adapter was made for another base.
        """
        asked, ref = self._asked(source, target), adapter.strip()
        if ref == BASE_REF:
            return Route(self._of_base(asked), None, BASE_REF)
        if ref:
            return self._named(asked, ref, permit, key)
        domain = check_domain(domain.strip())
        return self._routed(asked, domain, permit, key, required=require_adapter)

    def _named(
        self, asked: LanguagePair, ref: str, permit: Permit, key: Callable[[], bytes]
    ) -> Route:
        version = permit.resolve(self.resolve, ref)
        self._check_pair(version, version.manifest.language_pair, asked)
        self._check_base(version)
        served, arm = self.split(ref, version, key)  # for the same pair and base
        return Route(version.manifest.language_pair, served, ref, arm=arm)

    def _routed(
        self,
        asked: LanguagePair,
        domain: str,
        permit: Permit,
        key: Callable[[], bytes],
        *,
        required: bool,
    ) -> Route:
        found = self.table().find(asked, domain, permit.allows)
        fallback = found[1] if found else Fallback.NO_ADAPTER
        if required and fallback is not None:
            raise _no_route(asked, domain, found[0] if found else None)
        if found is None:
            return Route(self._of_base(asked), None, fallback=fallback)
        entry = found[0]
        if entry.rungs and not required and self.overloaded():
            cheaper = self._rung(asked, entry, permit, key)
            if cheaper is not None:
                return replace(cheaper, requested=entry.ref, fallback=Fallback.OVERLOAD)
        version, arm = self.split(entry.ref, entry.version, key)
        pair = version.manifest.language_pair
        return Route(pair, version, entry.ref, fallback, arm, entry.rungs)

    def second(self, route: Route, permit: Permit) -> Route | None:
        """Return who may translate what a routed adapter translated badly, None if nobody.

        That is the first of its rungs that can, else the base model; never a canary, whose traffic
        is chosen by chance alone. Blocks on the registry.

        Args:
            route: Who translated it.
            permit: What the caller may use.
        """
        if route.version is None or route.rungs is None:
            return None
        in_use = replace(self, split=whole)
        for ref in route.rungs:
            try:
                rung = in_use._named(route.pair, ref, permit, bytes)
            except HubError:  # it has left the registry, or the caller may not use it
                continue
            if rung.digest != route.digest:
                return replace(rung, requested=route.requested)
        try:
            return Route(self._of_base(route.pair), None, route.requested)
        except HubError:
            return None

    def _rung(
        self, asked: LanguagePair, entry: RouteEntry, permit: Permit, key: Callable[[], bytes]
    ) -> Route | None:
        """Return the first cheaper adapter of a route that can serve the caller, None if none can.

        Overload must not turn what would be served into an error.
        """
        for index, ref in enumerate(entry.rungs):
            try:
                route = self._named(asked, ref, permit, key)
            except HubError:
                continue
            return replace(route, rungs=entry.rungs[index + 1 :])
        return None

    def check_target(self, target: str) -> None:
        """Refuse a target language before any source is known.

        Raises:
            LanguageError: It is unknown, or the base does not have it.
        """
        self._language(target, "target_language_code")

    def _asked(self, source: str, target: str) -> LanguagePair:
        """Read the two language codes of a request."""
        codes = [
            self._language(source, "source_language_code"),
            self._language(target, "target_language_code"),
        ]
        try:
            return LanguagePair(*codes)
        except LanguageError as error:
            raise LanguageError(error.message, field="target_language_code") from None

    def _language(self, code: str, field: str) -> str:
        if not code.strip():
            raise LanguageError(
                f"{field} is empty; give a BCP-47 code such as 'en'",
                field=field,
            )
        try:
            self._served(code)
            return canonical(code)
        except LanguageError as error:
            raise LanguageError(error.message, field=field, metadata=error.metadata) from None

    def _served(self, code: str) -> str:
        return choose(code, self.languages, f"base {self.base_name!r}")

    def _of_base(self, asked: LanguagePair) -> LanguagePair:
        source, target = self._served(asked.source), self._served(asked.target)
        if source == target:
            raise LanguageError(
                f"base {self.base_name!r} has one language {source!r} for both {asked.source!r} "
                f"and {asked.target!r}; name an adapter that was made for {asked}",
                field="target_language_code",
            )
        return LanguagePair(source, target)

    def _check_pair(
        self, version: AdapterVersion, made_for: LanguagePair, asked: LanguagePair
    ) -> None:
        if not made_for.serves(asked):
            raise PairMismatchError(
                f"adapter {version.ref} translates {made_for}, not {asked}; ask for {made_for}, "
                "choose another adapter, or none for the base model",
                field="adapter",
                metadata={"adapter": version.ref, "pair": str(made_for)},
            )

    def _check_base(self, version: AdapterVersion) -> None:
        made_for = version.manifest.base
        if not self.is_base(made_for.digest):
            raise WrongBaseError(
                f"adapter {version.ref} was made for base {made_for.name!r} ({made_for.digest}), "
                f"but this server has {self.base_name!r} ({self.base_digest}); serve that base, "
                "or train the adapter on this one",
                field="adapter",
                metadata={"adapter": version.ref, "base_digest": made_for.digest},
            )


def _no_route(asked: LanguagePair, domain: str, near: RouteEntry | None) -> AdapterNotFoundError:
    within = f" in domain {domain!r}" if domain else ""
    instead = (
        f"the nearest is {near.ref} for {near.pair}"
        + (f" in domain {near.domain!r}" if near.domain else "")
        if near
        else "the base model alone could"
    )
    return AdapterNotFoundError(
        f"no adapter is registered for {asked}{within} and require_adapter is set; {instead}; "
        "leave require_adapter out to be served so, or name an adapter",
        field="require_adapter",
        metadata={"pair": str(asked), "domain": domain},
    )
