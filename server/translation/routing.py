"""Which adapter translates: what a caller asked for → one immutable version, or the base.

A ref is resolved anew for every request, so an alias that was moved or a version that was
published a moment ago counts at once; everything behind this point is keyed by digest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hub.errors import LanguageError, PairMismatchError, WrongBaseError
from hub.languages import LanguagePair, canonical, choose
from hub.registry import AdapterVersion
from server.residency.tables import BASE


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes.

    Attributes:
        pair: As it is served: the adapter's pair, or the base's languages.
        version: The adapter, None for the base model alone.
    """

    pair: LanguagePair
    version: AdapterVersion | None

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


@dataclass(frozen=True, slots=True)
class Router:
    """Resolves requests against the registry and the base.

    Attributes:
        resolve: Ref → version; raises HubError.
        languages: BCP-47 codes that the base's tokenizer has.
        base_name: For messages.
        base_digest: For messages.
        is_base: Whether a digest in a manifest means the base; adapters of others are refused.
    """

    resolve: Callable[[str], AdapterVersion]
    languages: frozenset[str]
    base_name: str
    base_digest: str
    is_base: Callable[[str], bool]

    def route(self, source: str, target: str, adapter: str) -> Route:
        """Decide who translates. Blocks on the registry.

        Raises:
            LanguageError: A code is unknown, unsupported by the base, or both mean the same;
                `field` names the code at fault.
            RefError: The ref has none of the known forms.
            AdapterNotFoundError: Nothing answers to the ref.
            PairMismatchError: The adapter was made for another pair, or for a variety of this one.
            WrongBaseError: The adapter was made for another base.
        """
        asked = self._asked(source, target)
        if not adapter.strip():
            return Route(self._of_base(asked), None)
        version = self.resolve(adapter)
        made_for = version.manifest.language_pair
        self._check_pair(version, made_for, asked)
        self._check_base(version)
        return Route(made_for, version)

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
                f"{field} is empty; give a BCP-47 code such as 'en' (the source is not detected)",
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
