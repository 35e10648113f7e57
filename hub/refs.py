"""What a user types to mean an adapter.

A ref is one of

    name              the adapter's `latest` alias
    name@alias        where the alias points now
    name:3            an immutable version
    sha256:<hex>      a digest, or a prefix of at least eight digits
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hub.errors import RefError

LATEST: Final = "latest"
MAX_NAME: Final = 100
MIN_DIGEST_DIGITS: Final = 8
MAX_VERSION: Final = 2**31 - 1

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{8,64}", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_FORMS: Final = "name, name@alias, name:version or sha256:<8 to 64 hex digits>"


def check_name(name: str) -> str:
    """Return the name of an adapter unchanged, or raise RefError."""
    return _checked(name, "adapter name")


def check_alias(alias: str) -> str:
    """Return an alias unchanged, or raise RefError."""
    return _checked(alias, "alias")


def is_digest(text: str) -> bool:
    """Tell whether a text is a whole digest, as everything is keyed by."""
    return len(text) == len("sha256:") + 64 and bool(_DIGEST.fullmatch(text))


def check_domain(domain: str) -> str:
    """Return a domain label unchanged, or raise RefError; "" stands for any texts."""
    return _checked(domain, "domain", field="domain") if domain else domain


def _checked(text: str, what: str, field: str = "adapter") -> str:
    if not _NAME.fullmatch(text):
        raise RefError(
            f"{_shown(text)} is not a valid {what}: use 1 to {MAX_NAME} of a-z, 0-9, "
            "'.', '_' and '-', starting with a letter or digit",
            field=field,
        )
    return text


@dataclass(frozen=True, slots=True)
class AdapterRef:
    """A parsed ref; exactly one of alias, version and digest is set.

    Attributes:
        name: Adapter name, "" when the ref is a digest.
        alias: Alias to follow, "" when the ref is a version or a digest.
        version: Version number, from 1, or None.
        digest: "sha256:" and 8 to 64 hex digits, or "".
    """

    name: str = ""
    alias: str = ""
    version: int | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        """Refuse what could not have been typed."""
        targets = (self.alias != "") + (self.version is not None) + (self.digest != "")
        if targets != 1 or (self.digest != "") == (self.name != ""):
            raise RefError(f"ref parts do not go together: {self!r}; use {_FORMS}")
        if self.digest:
            _check_digest(self.digest)
            return
        check_name(self.name)
        if self.alias:
            check_alias(self.alias)
        if self.version is not None and not 1 <= self.version <= MAX_VERSION:
            raise RefError(f"version {self.version} is not between 1 and {MAX_VERSION}")

    @classmethod
    def parse(cls, text: str) -> AdapterRef:
        """Read what a user typed.

        Raises:
            RefError: The text has none of the four forms.
        """
        text = text.strip()
        if text.lower().startswith("sha256:"):
            return cls(digest=text.lower())
        if "@" in text:
            name, _, alias = text.partition("@")
            return cls(name=check_name(name), alias=check_alias(alias))
        if ":" in text:
            name, _, version = text.partition(":")
            return cls(name=check_name(name), version=_parse_version(version))
        return cls(name=check_name(text), alias=LATEST)

    @property
    def is_exact(self) -> bool:
        """Tell whether the ref can never come to mean another adapter."""
        return self.version is not None or len(self.digest) == len("sha256:") + 64

    def __str__(self) -> str:
        """Return the canonical spelling; parse(str(ref)) == ref."""
        if self.digest:
            return self.digest
        if self.version is not None:
            return f"{self.name}:{self.version}"
        return f"{self.name}@{self.alias}"


def _check_digest(digest: str) -> None:
    if not _DIGEST.fullmatch(digest):
        raise RefError(
            f"{_shown(digest)} is not a digest: use 'sha256:' and {MIN_DIGEST_DIGITS} to 64 "
            "hex digits",
            field="adapter",
        )


def _parse_version(text: str) -> int:
    if not _VERSION.fullmatch(text) or int(text) > MAX_VERSION:
        raise RefError(
            f"{_shown(text)} is not a version: use a whole number between 1 and {MAX_VERSION}",
            field="adapter",
        )
    return int(text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_NAME + 20 else text[:MAX_NAME] + "…")
