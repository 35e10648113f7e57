"""Which adapters a caller may use. Others do not exist for it.

What must not be told is told by nothing: an adapter that belongs to somebody else, one that does
not exist and a digest that fits several give one and the same error, which names no other adapter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from hub.errors import AdapterNotFoundError, RefError
from hub.refs import AdapterRef
from hub.registry import AdapterVersion


@dataclass(frozen=True, slots=True)
class Permit:
    """Patterns of adapter names, with * and ?."""

    patterns: tuple[str, ...]

    @property
    def everything(self) -> bool:
        """Tell whether it withholds nothing."""
        return "*" in self.patterns

    def allows(self, name: str) -> bool:
        """Tell whether an adapter may be used."""
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)

    def check(self, name: str) -> None:
        """Refuse the name of an adapter that may not be used.

        Raises:
            AdapterNotFoundError: It may not.
        """
        if not self.allows(name):
            raise _unknown(name)

    def resolve(self, resolve: Callable[[str], AdapterVersion], ref: str) -> AdapterVersion:
        """Return the version that a ref means, if it may be used.

        Raises:
            RefError: The ref has none of the known forms.
            AdapterNotFoundError: Nothing that may be used answers to it.
        """
        if self.everything:
            return resolve(ref)
        AdapterRef.parse(ref)
        try:
            version = resolve(ref)
        except (AdapterNotFoundError, RefError):
            raise _unknown(ref) from None
        if not self.allows(version.name):
            raise _unknown(ref)
        return version


def _unknown(ref: str) -> AdapterNotFoundError:
    return AdapterNotFoundError(
        f"none of your adapters answers to {ref.strip()!r}; `hub adapters list` or ListAdapters "
        "shows those that you may use",
        field="adapter",
        metadata={"ref": ref.strip()},
    )


EVERYTHING: Final = Permit(("*",))
