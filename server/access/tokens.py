"""JSON Web Tokens (RFC 7519): who calls, as somebody else's login says.

The keys that tokens are signed with come from a JWKS file or URL (RFC 7517). They are read again
when the file changes; from a URL when they are old, or when a token names a key that is not among
them, but never more often than every half minute, whoever sends how many such tokens.

Signatures are asymmetric only: with a shared secret whoever can check a token can make one, and a
public key that is taken for a secret lets anybody.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt

from hub.errors import CredentialsError, KeyFileError, UnavailableError
from hub.keys import SCOPES, TENANT_NAME

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
KEY_TYPES: Final = frozenset({"RSA", "EC", "OKP"})
LIFETIME_SECONDS: Final = 600.0
LEAST_SECONDS: Final = 30.0
LEEWAY_SECONDS: Final = 30
_TIMEOUT_SECONDS: Final = 5.0
_MAX_BYTES: Final = 2**20
_MAX_TOKEN: Final = 16 * 2**10
_MOMENT: Final = 1.0

_log = logging.getLogger("adapterhub.server")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says."""

    tenant: str
    scopes: frozenset[str]


class KeySet:
    """The public keys, by id; may be used from any thread."""

    def __init__(self, source: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Name the source; nothing is read yet.

        Args:
            source: A file, or an https URL (http on loopback).
            clock: Monotonic seconds.
        """
        self._source = source
        self._remote = source.startswith(("https://", "http://"))
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._read_at = -float("inf")
        self._tried_at = -float("inf")
        self._stamp: tuple[int, int] | None = None

    def known(self, identifier: str) -> jwt.PyJWK | None:
        """Return a key that needs no reading; None where `renew` may help."""
        fresh = self._clock() - self._read_at < (LIFETIME_SECONDS if self._remote else _MOMENT)
        return self._keys.get(identifier) if fresh else None

    def latest(self, identifier: str) -> jwt.PyJWK | None:
        """Return a key of those that were read last, however long ago."""
        return self._keys.get(identifier)

    def renew(self) -> None:
        """Read the source again, unless that was tried a moment ago. Blocks.

        Raises:
            UnavailableError: The source never could be read.
        """
        with self._lock:
            if self._clock() - self._tried_at >= (LEAST_SECONDS if self._remote else _MOMENT):
                self._tried_at = self._clock()
                self._refresh()

    def load(self) -> None:
        """Read the source. Blocks.

        Raises:
            KeyFileError: It cannot be read, or holds no usable key.
        """
        if not self._remote:
            found = _stat(Path(self._source))
            if found == self._stamp and self._keys:
                self._read_at = self._clock()
                return
            self._stamp = found
        self._keys = _keys_of(self._bytes(), self._source)
        self._read_at = self._clock()

    def _refresh(self) -> None:
        try:
            self.load()
        except KeyFileError as error:
            if not self._keys:
                raise UnavailableError("tokens cannot be checked at present; retry later") from None
            _log.error("the keys of tokens stay as they were: %s", error.message)

    def _bytes(self) -> bytes:
        try:
            if self._remote:
                request = urllib.request.Request(
                    self._source, headers={"Accept": "application/json"}
                )
                with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as reply:
                    return bytes(reply.read(_MAX_BYTES + 1))
            with open(self._source, "rb") as file:
                return file.read(_MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            raise KeyFileError(f"cannot read token keys from {self._source}: {error}") from None


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _keys_of(data: bytes, source: str) -> dict[str, jwt.PyJWK]:
    """Read a JWKS; keys that cannot check signatures here are left out (RFC 7517, section 5)."""
    if len(data) > _MAX_BYTES:
        raise KeyFileError(f"{source} has more than {_MAX_BYTES} bytes; it is no JWKS")
    try:
        records = json.loads(data)["keys"]
        usable = [
            record
            for record in records
            if record.get("kty") in KEY_TYPES and record.get("use", "sig") == "sig"
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise KeyFileError(f"{source} is no JWKS (RFC 7517): {error!r}") from None
    found = {str(record.get("kid", "")): _usable(record) for record in usable}
    keys = {identifier: key for identifier, key in found.items() if identifier and key}
    if not keys:
        raise KeyFileError(
            f"{source} has no public key for signatures with a kid; symmetric keys are not taken"
        )
    return keys


def _usable(record: dict[str, Any]) -> jwt.PyJWK | None:
    """Return a key, None for one of a curve or algorithm that is not known, or one cut short."""
    try:
        return jwt.PyJWK.from_dict(record)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None


@dataclass(frozen=True, slots=True)
class Tokens:
    """Checks tokens.

    Attributes:
        keys: That they are signed with.
        issuer: Of every token.
        audience: Likewise.
        tenant_claim: The claim that names the tenant.
    """

    keys: KeySet
    issuer: str
    audience: str
    tenant_claim: str = "tenant"

    def key_id(self, token: str) -> str:
        """Return the key that a token says it is signed with; nothing of it is checked.

        Raises:
            CredentialsError: It is no token, or signed in a way that is not taken.
        """
        if len(token) > _MAX_TOKEN:
            raise CredentialsError(f"the token is longer than {_MAX_TOKEN} characters")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise _not_valid("it is no JSON Web Token") from None
        if header.get("alg") not in ALGORITHMS:
            raise _not_valid(f"it is not signed with one of {', '.join(ALGORITHMS)}")
        return str(header.get("kid", ""))

    def check(self, token: str, key: jwt.PyJWK | None) -> Claims:
        """Return what a token says, if it is valid now.

        Raises:
            CredentialsError: It is not.
        """
        if key is None:
            raise _not_valid("it is signed with an unknown key")
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                issuer=self.issuer,
                audience=self.audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise _not_valid("it has expired") from None
        except jwt.PyJWTError as error:
            raise _not_valid(type(error).__name__.removesuffix("Error")) from None
        return Claims(self._tenant(claims), _scopes(claims))

    def _tenant(self, claims: Mapping[str, Any]) -> str:
        tenant = claims.get(self.tenant_claim)
        if not isinstance(tenant, str) or not TENANT_NAME.fullmatch(tenant):
            raise _not_valid(f"its claim {self.tenant_claim!r} names no tenant")
        return tenant


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Read the scopes of RFC 8693 ("scope", with blanks) or of a list; others' are left out."""
    given = claims.get("scope", claims.get("scp", ""))
    words = given.split() if isinstance(given, str) else given if isinstance(given, list) else ()
    return frozenset(SCOPES) & {word for word in words if isinstance(word, str)}


def _not_valid(why: str) -> CredentialsError:
    return CredentialsError(f"the token is not valid: {why}")
