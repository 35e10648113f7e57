"""The file of bearer keys: who may call a server, and for what.

Keys are made here and kept as SHA-256 digests alone. A key has 256 bits from the system's random
source, so that nobody can search for it: a slow password hash with a salt, which protects words
that people choose, would only make each call slower.

    {"keys": [{"id": "3f9a1c07", "sha256": "…", "tenant": "acme", "scopes": ["translate"]}],
     "tenants": {"acme": {"adapters": ["acme-*"], "requests_per_minute": 600}}}
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hub.errors import InputError, KeyFileError, NotFoundError

Scope = Literal["translate", "feedback", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("translate", "feedback", "admin")
PREFIX: Final = "hub"
_SECRET_BYTES: Final = 32
TENANT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_MAX_BYTES: Final = 16 * 2**20


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class KeyRecord(_Record):
    """One key, without the key.

    Attributes:
        id: Names it in lists and logs; part of the key.
        sha256: Of the whole key, hexadecimal.
    """

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    tenant: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]


class TenantRecord(_Record):
    """What a tenant may use, whichever of its keys it shows.

    Attributes:
        adapters: Patterns of adapter names, with * and ?; the base model is always allowed.
        requests_per_minute: Calls; None for no limit.
        characters_per_minute: Characters of texts; None for no limit.
    """

    adapters: tuple[Annotated[str, Field(pattern=r"^[a-z0-9*?._-]{1,100}$")], ...] = ("*",)
    requests_per_minute: Annotated[float, Field(gt=0, le=1e9)] | None = None
    characters_per_minute: Annotated[float, Field(gt=0, le=1e12)] | None = None


class KeyFile(_Record):
    """Everything in the file."""

    keys: tuple[KeyRecord, ...] = ()
    tenants: dict[str, TenantRecord] = Field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> KeyFile:
        """Read the file.

        Raises:
            KeyFileError: It does not exist, is not readable or not valid.
        """
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise KeyFileError(
                f"cannot read keys from {path}: {error.strerror}; make it with `hub keys add`"
            ) from None
        if len(data) > _MAX_BYTES:
            raise KeyFileError(f"{path} has more than {_MAX_BYTES} bytes; it is no file of keys")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise KeyFileError(f"{path} is no file of keys: {where}: {first['msg']}") from None

    def write(self, path: Path) -> None:
        """Replace the file, readable by its owner alone.

        Raises:
            KeyFileError: It cannot be written.
        """
        text = json.dumps(self.model_dump(mode="json", exclude_defaults=True), indent=2) + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
            try:
                with os.fdopen(number, "w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(number)
                os.replace(name, path)
            except BaseException:
                os.unlink(name)
                raise
        except OSError as error:
            raise KeyFileError(f"cannot write keys to {path}: {error.strerror}") from None

    def added(self, tenant: str, scopes: Iterable[str]) -> tuple[KeyFile, KeyRecord, str]:
        """Make a key.

        Returns:
            The file with it, its record, and the key itself, which nothing else knows.

        Raises:
            InputError: The tenant is no name, or there is no such scope.
        """
        wanted = _checked_scopes(scopes)
        if not TENANT_NAME.fullmatch(tenant):
            raise InputError(
                f"tenant {tenant[:80]!r} is not a name: use 1 to 64 of a-z, 0-9, '.', '_' and '-', "
                "starting with a letter or digit",
                field="tenant",
            )
        identifier = secrets.token_hex(4)
        key = f"{PREFIX}_{identifier}_{secrets.token_urlsafe(_SECRET_BYTES)}"
        record = KeyRecord(id=identifier, sha256=digest_of(key), tenant=tenant, scopes=wanted)
        return self.model_copy(update={"keys": (*self.keys, record)}), record, key

    def with_tenant(
        self,
        tenant: str,
        *,
        adapters: Iterable[str] = (),
        requests_per_minute: float | None = None,
        characters_per_minute: float | None = None,
    ) -> KeyFile:
        """Return the file with what is given of a tenant's limits replaced.

        Raises:
            InputError: A pattern or a number is not valid.
        """
        given = {
            "adapters": tuple(adapters) or None,
            "requests_per_minute": requests_per_minute,
            "characters_per_minute": characters_per_minute,
        }
        changed = {name: value for name, value in given.items() if value is not None}
        if not changed:
            return self
        before = self.tenants.get(tenant, TenantRecord()).model_dump()
        try:
            record = TenantRecord.model_validate(before | changed)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InputError(
                f"{first['loc'][0]} {first['input']!r} of tenant {tenant}: {first['msg']}",
                field=str(first["loc"][0]),
            ) from None
        return self.model_copy(update={"tenants": {**self.tenants, tenant: record}})

    def without(self, identifier: str) -> KeyFile:
        """Return the file without a key.

        Raises:
            NotFoundError: No key has the id.
        """
        kept = tuple(key for key in self.keys if key.id != identifier)
        if len(kept) == len(self.keys):
            raise NotFoundError(f"no key has the id {identifier[:80]!r}; see `hub keys list`")
        return self.model_copy(update={"keys": kept})


def _checked_scopes(scopes: Iterable[str]) -> tuple[Scope, ...]:
    given = set(scopes)
    unknown = sorted(given - set(SCOPES))
    if unknown or not given:
        what = f"scope {unknown[0][:80]!r} is not known" if unknown else "no scope is given"
        raise InputError(f"{what}; use {', '.join(SCOPES)}", field="scope")
    return tuple(scope for scope in SCOPES if scope in given)


def digest_of(key: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def by_digest(keys: Iterable[KeyRecord]) -> dict[str, KeyRecord]:
    """Return keys for `find_key`: a call's key is looked for in thousands at once."""
    return {record.sha256: record for record in keys}


def find_key(keys: Mapping[str, KeyRecord], key: str) -> KeyRecord | None:
    """Return the record of a key.

    How long it takes tells nothing of other keys: nobody can choose the digest that is compared.

    Args:
        keys: As of `by_digest`.
        key: As the caller sent it.
    """
    return keys.get(digest_of(key))
