"""Who may come in: the same guard at every door, with one set of quotas."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from hub.errors import ScopeError
from server.access.charging import charge_with
from server.access.credentials import Credentials
from server.access.identity import Identity, act_for, current_identity
from server.access.quotas import Quotas
from server.access.scopes import SCOPE_OF_METHOD
from server.telemetry.calls import note_tenant


class Guard:
    """Denies by default: a method that is not in the table of scopes answers nobody."""

    def __init__(
        self, credentials: Credentials | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take what checks callers; None asks nobody, and only methods of the table answer."""
        self._credentials = credentials
        self._quotas = Quotas()
        self._characters: Counter[str] = Counter()  # by tenant, which nobody can make up
        self._clock = clock

    @property
    def asks(self) -> bool:
        """Tell whether callers are asked who they are."""
        return self._credentials is not None

    def tenant_of(self, headers: Callable[[], Mapping[str, str]]) -> str | None:
        """Return a caller's tenant as far as it is known without waiting.

        Returns:
            "" where nobody is asked, None where it cannot be told yet or at all.
        """
        return "" if self._credentials is None else self._credentials.tenant_of(headers())

    async def admit(self, method: str, headers: Mapping[str, str], characters: int) -> None:
        """Let a call through, in the name of its caller.

        Args:
            method: "Service/Method", as in the table of scopes.
            headers: By lower-case name.
            characters: Of the texts that the call brings.

        Raises:
            CredentialsError: Nobody knows the caller.
            ScopeError: The caller may not call this method.
            QuotaError: The caller has used up what it may ask for.
        """
        self.enter(await self.identify(method, headers), characters)

    async def identify(self, method: str, headers: Mapping[str, str]) -> Identity | None:
        """Return a caller who may call a method; None where nobody is asked.

        Raises:
            CredentialsError: Nobody knows the caller.
            ScopeError: The caller may not call this method.
        """
        identity = None
        if self._credentials is not None:
            identity = await self._credentials.identify(headers)
            note_tenant(identity.tenant)
        scope = SCOPE_OF_METHOD.get(method)
        if scope is None:
            raise ScopeError(f"{method} is closed to everybody")
        if identity is not None and scope not in identity.scopes:
            raise ScopeError(
                f"{method} asks for scope {scope!r}, which this key or token of tenant "
                f"{identity.tenant!r} does not have",
                metadata={"scope": scope},
            )
        return identity

    def enter(self, identity: Identity | None, characters: int) -> None:
        """Serve the rest of this task's call for a caller, within its quota.

        Raises:
            QuotaError: The caller has used up what it may ask for.
        """
        if identity is not None:
            self._quotas.take(identity, characters, self._clock())
            act_for(identity)
        charge_with(self.charge)
        self._note(characters)

    def charge(self, characters: int) -> None:
        """Count texts of the current call that were not known when it was admitted.

        Raises:
            QuotaError: The caller has used up what it may ask for.
        """
        self._quotas.take(current_identity(), characters, self._clock(), requests=0)
        self._note(characters)

    def characters_of_caller(self) -> int:
        """Return the characters that the tenant of the current call has brought so far."""
        return self._characters[current_identity().tenant]

    def _note(self, characters: int) -> None:
        self._characters[current_identity().tenant] += characters
