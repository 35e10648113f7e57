"""Reading the registry for AdapterService: pages, filters, names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hub.errors import AdapterNotFoundError, InputError
from hub.languages import LanguagePair
from hub.registry import AdapterVersion, Registry
from server.access.permits import EVERYTHING, Permit

MAX_PAGE: Final = 1000
DEFAULT_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Filter:
    """Which versions to list; empty fields do not narrow."""

    name: str = ""
    source: str = ""
    target: str = ""
    latest_only: bool = False
    permit: Permit = EVERYTHING


def list_page(
    registry: Registry, wanted: Filter, page_size: int, page_token: str
) -> tuple[list[AdapterVersion], str]:
    """Return one page, by name and then newest version first, and the next page's token.

    The token is the ref that the page ended with, so a page never repeats or loses what was
    there all along, whatever is published in between.

    Raises:
        InputError: The page size, the token or the pair is not valid.
    """
    if not 0 <= page_size <= MAX_PAGE:
        raise InputError(
            f"page_size {page_size} is out of range; choose 1 to {MAX_PAGE}, or 0 for "
            f"{DEFAULT_PAGE}",
            field="page_size",
        )
    after = _read_token(page_token)
    found = sorted(_matching(registry, wanted), key=_order)
    rest = [version for version in found if after is None or _order(version) > after]
    size = page_size or DEFAULT_PAGE
    page = rest[:size]
    return page, _token(page[-1]) if len(rest) > size else ""


def _order(version: AdapterVersion) -> tuple[str, int]:
    return version.name, -version.version


def _token(version: AdapterVersion) -> str:
    return version.ref


def _read_token(token: str) -> tuple[str, int] | None:
    if not token:
        return None
    name, _, number = token.rpartition(":")
    if not name or not number.isascii() or not number.isdigit() or len(number) > 10:
        raise InputError(
            f"page_token {token[:80]!r} is not one of this server's; pass next_page_token on "
            "unchanged",
            field="page_token",
        )
    return name, -int(number)


def _matching(registry: Registry, wanted: Filter) -> list[AdapterVersion]:
    pair = _pair(wanted)
    try:
        versions = registry.versions(wanted.name or None)
    except AdapterNotFoundError:
        return []
    if wanted.latest_only:
        newest = {version.name: version for version in sorted(versions, key=lambda v: v.version)}
        versions = list(newest.values())
    return [
        version
        for version in versions
        if pair in ("", version.manifest.pair) and wanted.permit.allows(version.name)
    ]


def _pair(wanted: Filter) -> str:
    if bool(wanted.source) != bool(wanted.target):
        raise InputError(
            "only one of source_language_code and target_language_code is set; give both or "
            "neither",
            field="source_language_code" if not wanted.source else "target_language_code",
        )
    return str(LanguagePair.of(wanted.source, wanted.target)) if wanted.source else ""
