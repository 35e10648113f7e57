"""Whose a stored glossary is: its tenant's, where DeepL's API made it, else anyone's by its name.

An operator stores glossaries under names that tenants share by pattern, as they share adapters. A
glossary that a tenant makes over DeepL's API is a part of its account there, and so it is here,
whatever patterns others have. Its dictionaries are named "deepl-ID-PAIR", and the index of ID says
who made it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hub.errors import ScopeError
from hub.glossaries import Allows
from server.access.identity import Identity, current_identity
from server.access.permits import Permit

FOLDER: Final = "deepl-glossaries"
PREFIX: Final = "deepl-"
_OWN: Final = re.compile(rf"{PREFIX}([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})-.*")


@dataclass(frozen=True, slots=True)
class GlossaryOwners:
    """Tells who may see and change stored glossaries; blocks on the disk.

    Attributes:
        registry: Its folder.
    """

    registry: Path

    @property
    def folder(self) -> Path:
        """Return where the indices are, `ID.json`."""
        return self.registry / FOLDER

    def visible(self, tenant: str, permit: Permit) -> Allows:
        """Return what tells which names there are for a tenant; "" where nobody is asked."""

        def allows(name: str) -> bool:
            found = _OWN.fullmatch(name)
            if found is None or not tenant:
                return permit.allows(name)
            return self.belongs(self._owner(found[1]), tenant, permit, name)

        return allows

    def visible_to_caller(self) -> Allows:
        """Return what tells which names there are for the current caller."""
        identity = current_identity()
        return self.visible(identity.tenant, identity.permit)

    def belongs(self, owner: str | None, tenant: str, permit: Permit, name: str) -> bool:
        """Tell whether a tenant may have what DeepL's API made.

        Args:
            owner: Who made it; "" for a time when nobody was asked, None where it is not known.
            tenant: Who asks; "" where nobody is asked.
            permit: The tenant's.
            name: Of the glossary.
        """
        return owner == tenant if owner and tenant else owner is not None and permit.allows(name)

    def check_own(self, name: str, identity: Identity) -> None:
        """Refuse to change what is not the caller's, whether it exists or not.

        Raises:
            ScopeError: It is not.
        """
        if not self.visible(identity.tenant, identity.permit)(name):
            raise ScopeError(
                f"tenant {identity.tenant!r} may not change {name[:80]!r}; what its adapters may "
                f"be called holds for glossaries too: {', '.join(identity.permit.patterns)}; and "
                f"{PREFIX}ID-… are for the tenant that made them by DeepL's API"
            )

    def _owner(self, identifier: str) -> str | None:
        try:
            plain = json.loads((self.folder / f"{identifier}.json").read_text(encoding="utf-8"))
            return str(plain.get("tenant", ""))
        except (OSError, ValueError, AttributeError):
            return None
