"""Resource names: projects/P/locations/L/models/NAME@alias, …/glossaries/NAME.

Projects and locations are the caller's own affair: any is taken and given back.
"""

from __future__ import annotations

import re
from typing import Final

from hub.errors import InputError

ROUTED: Final = ("", "general/nmt")
"""Models that leave the choice to the routing table."""

_PARENT: Final = re.compile(r"projects/[^/]{1,100}(?:/locations/[^/]{1,100})?")
_CHILD: Final = re.compile(r"(projects/[^/]{1,100}/locations/[^/]{1,100})/([a-z]+)/(.{1,300})")


def check_parent(parent: str) -> str:
    """Return a parent.

    Raises:
        InputError: It is none.
    """
    if _PARENT.fullmatch(parent) is None:
        raise InputError(
            f"parent {parent[:80]!r} is not a resource name; give projects/PROJECT or "
            "projects/PROJECT/locations/LOCATION",
            field="parent",
        )
    return parent


def child(name: str, collection: str, field: str) -> tuple[str, str]:
    """Return the parent and the id that a name consists of.

    Args:
        name: "projects/P/locations/L/COLLECTION/ID".
        collection: "models" or "glossaries".
        field: Of the request, for the message.

    Raises:
        InputError: It is no such name.
    """
    found = _CHILD.fullmatch(name)
    if found is None or found[2] != collection:
        raise InputError(
            f"{field} {name[:80]!r} is not a resource name; give "
            f"projects/PROJECT/locations/LOCATION/{collection}/NAME",
            field=field,
        )
    return found[1], found[3]


def adapter_ref(model: str) -> str:
    """Return the ref that a model stands for: "" for the server's route, "base" for the base.

    Raises:
        InputError: It is no name of a model, or one of Google's own that is not here.
    """
    if model in ROUTED:
        return ""
    _, name = child(model, "models", "model")
    if name in ROUTED:
        return ""
    if name.startswith("general/"):
        raise InputError(
            f"model {name!r} is Google's; use general/nmt for the server's own choice, or the name "
            "of an adapter",
            field="model",
        )
    return name


def model_name(parent: str, adapter_version: str) -> str:
    """Return the name of the model that made a translation."""
    return f"{parent}/models/{adapter_version or 'base'}"
