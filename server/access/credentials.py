"""From a call's authorization header to who makes it."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hub.errors import CredentialsError, KeyFileError, SettingsError
from hub.keys import PREFIX as KEY_PREFIX
from hub.keys import KeyFile, KeyRecord, TenantRecord, by_digest, find_key
from hub.loopback import is_loopback
from hub.settings import Settings
from server.access.identity import Identity, Limits
from server.access.once import Once
from server.access.permits import Permit
from server.access.tokens import KeySet, Tokens

LOOK_SECONDS: Final = 1.0
"""How often the file of keys is looked at."""
_MAX_KEY: Final = 1024
_MAX_SECRET: Final = 16_384
_MAX_RECENT: Final = 1024

_log = logging.getLogger("adapterhub.server")


@dataclass(frozen=True, slots=True)
class Keys:
    """Bearer keys as they were read, ready to be looked for."""

    file: KeyFile
    digests: Mapping[str, KeyRecord]

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Read the file; raises as KeyFile.read."""
        file = KeyFile.read(path)
        return cls(file, by_digest(file.keys))

    def find(self, secret: str) -> KeyRecord | None:
        """Return the record of a key, None for what is none."""
        return find_key(self.digests, secret) if len(secret) <= _MAX_KEY else None


class KeyBook:
    """The file of bearer keys, read again when it changes.

    Attributes:
        keys: As they were when they were read last.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file.

        Raises:
            KeyFileError: It cannot be read, or is not valid.
        """
        self._path = path
        self._clock = clock
        self._looked_at = clock()
        self._stamp = _stamp(path)
        self.keys = Keys.read(path)

    @property
    def due(self) -> bool:
        """Tell whether it is time to look at the file again."""
        return self._clock() - self._looked_at >= LOOK_SECONDS

    def look(self) -> None:
        """Read the file if it has changed; keep what was, where it has become invalid. Blocks."""
        now = self._clock()
        self._reload()
        self._looked_at = now

    def _reload(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self.keys = Keys.read(self._path)
            _log.info("read %d keys from %s", len(self.keys.digests), self._path)
        except KeyFileError as error:
            _log.error("the keys stay as they were: %s", error.message)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@dataclass(frozen=True, slots=True)
class Credentials:
    """Checks what callers show.

    Attributes:
        book: Bearer keys, None for none.
        tokens: JSON Web Tokens, None for none.
        pool: Threads for reading keys.
    """

    book: KeyBook | None
    tokens: Tokens | None
    pool: Executor = field(repr=False)
    _recent: OrderedDict[bytes, str] = field(default_factory=OrderedDict, repr=False)
    _looking: Once = field(default_factory=Once, repr=False)
    _renewing: Once = field(default_factory=Once, repr=False)

    def tenant_of(self, headers: Mapping[str, str]) -> str | None:
        """Return who seems to call, at next to no cost; None where that is not known.

        Good for refusing a call before its credentials are checked, never for letting it in: the
        key may lack a scope, and a token that was valid a moment ago may have expired.

        Args:
            headers: By lower-case name.
        """
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret or len(secret) > _MAX_SECRET:
            return None
        if self.book is not None and secret.startswith(f"{KEY_PREFIX}_"):
            record = self.book.keys.find(secret)
            return None if record is None else record.tenant
        return self._recent.get(_digest(secret))

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """Return who calls.

        Args:
            headers: By lower-case name.

        Raises:
            CredentialsError: There are no credentials, or they are not valid.
            UnavailableError: The keys of tokens cannot be read.
        """
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise CredentialsError(
                "the call has no credentials; send `authorization: Bearer KEY` (hub translate "
                "--key, or HUB_KEY)"
            )
        if self.book is not None and secret.startswith(f"{KEY_PREFIX}_"):
            return self._of_key(await self._keys(self.book), secret)
        if self.tokens is not None:
            return await self._of_token(self.tokens, secret)
        raise CredentialsError("the key is not valid")

    async def _keys(self, book: KeyBook) -> Keys:
        """Return the keys, no older than a look at their file."""
        if book.due:
            await self._looking.run(self.pool, book.look)
        return book.keys

    def _of_key(self, keys: Keys, secret: str) -> Identity:
        record = keys.find(secret)
        if record is None:
            raise CredentialsError("the key is not valid")
        return _identity(keys.file, record.tenant, frozenset(record.scopes))

    async def _of_token(self, tokens: Tokens, secret: str) -> Identity:
        identifier = tokens.key_id(secret)
        key = tokens.keys.known(identifier)
        if key is None:
            await self._renewing.run(self.pool, tokens.keys.renew)
            key = tokens.keys.latest(identifier)
        claims = tokens.check(secret, key)
        self._recent[_digest(secret)] = claims.tenant
        if len(self._recent) > _MAX_RECENT:
            self._recent.popitem(last=False)
        file = KeyFile() if self.book is None else (await self._keys(self.book)).file
        return _identity(file, claims.tenant, claims.scopes)


def _digest(secret: str) -> bytes:
    """Return what a token is remembered by; the token itself is not kept."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _identity(file: KeyFile, tenant: str, scopes: frozenset[str]) -> Identity:
    record = file.tenants.get(tenant, TenantRecord())
    limits = Limits(record.requests_per_minute, record.characters_per_minute)
    return Identity(tenant, scopes, Permit(record.adapters), limits)


def open_credentials(settings: Settings, pool: Executor) -> Credentials | None:
    """Return what checks callers; None where nobody is asked.

    Raises:
        SettingsError: Other machines could call and nobody would be asked, or a setting that
            tokens need is missing.
        KeyFileError: The keys cannot be read.
    """
    if settings.keys is None and not settings.jwt_jwks:
        if _reachable(settings.host):
            _check_open_on_purpose(settings)
        return None
    if settings.tls_cert is None and _reachable(settings.host):
        _log.warning("keys and tokens travel in clear: set tls_cert and tls_key, or use a proxy")
    return Credentials(
        None if settings.keys is None else KeyBook(settings.keys),
        _tokens(settings) if settings.jwt_jwks else None,
        pool,
    )


def _reachable(host: str) -> bool:
    """Tell whether other machines can reach an address that is listened on."""
    try:
        everywhere = ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_unspecified
    except ValueError:
        everywhere = False
    return everywhere or not is_loopback(host)


def _check_open_on_purpose(settings: Settings) -> None:
    if settings.insecure_no_auth == "yes-really":
        _log.warning("serving %s to everybody who can reach it, without asking", settings.host)
        return
    raise SettingsError(
        f"host {settings.host!r} can be reached by other machines, and callers would not be "
        "asked who they are; give --keys (see `hub keys add`) or jwt_jwks, or, to serve everybody, "
        "--insecure-no-auth yes-really",
        field="host",
    )


def _tokens(settings: Settings) -> Tokens:
    source = settings.jwt_jwks
    for name in ("jwt_issuer", "jwt_audience"):
        if not getattr(settings, name):
            raise SettingsError(
                f"jwt_jwks is set and {name} is not; without it any token of that signer would do",
                field=name,
            )
    if source.startswith("http://") and not is_loopback(urlsplit(source).netloc):
        raise SettingsError(f"jwt_jwks {source!r} must be an https URL or a file", field="jwt_jwks")
    keys = KeySet(source)
    keys.load()
    return Tokens(keys, settings.jwt_issuer, settings.jwt_audience, settings.jwt_tenant_claim)
