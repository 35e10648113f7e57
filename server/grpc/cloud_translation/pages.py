"""Pages of lists that fit into memory; the token is the place where the next one begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from hub.errors import InputError

DEFAULT: Final = 100
LARGEST: Final = 1000

_Item = TypeVar("_Item")


def page_of(items: Sequence[_Item], size: int, token: str) -> tuple[Sequence[_Item], str]:
    """Return a page and the token of the next one.

    Raises:
        InputError: Size or token are out of range.
    """
    if not size >= 0:
        raise InputError(f"page_size {size} is below 0; choose 1 to {LARGEST}", field="page_size")
    if token and not (token.isascii() and token.isdigit() and int(token[:10]) <= len(items)):
        raise InputError(
            f"page_token {token[:40]!r} is not one of this server's; pass next_page_token on "
            "unchanged",
            field="page_token",
        )
    start = int(token[:10] or 0)
    end = start + min(size or DEFAULT, LARGEST)
    return items[start:end], str(end) if end < len(items) else ""
