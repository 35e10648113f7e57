"""JSON schemas of what the HTTP APIs take and answer, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "integer"}
FLAG: Final[Schema] = {"type": "boolean"}
ANY: Final[Schema] = {}
FILE: Final[Schema] = {"type": "string", "format": "binary"}


def listed(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def either(*kinds: Schema) -> Schema:
    """Return the schema of a value of one of several kinds."""
    return {"anyOf": [*kinds]}


def words(*values: str) -> Schema:
    """Return the schema of one of several words."""
    return {"type": "string", "enum": [*values]}


def record(*required: str, **fields: Schema) -> Schema:
    """Return the schema of an object.

    Args:
        required: Names of fields that are always there.
        fields: All of them.
    """
    made: Schema = {"type": "object", "properties": fields}
    return made | ({"required": [*required]} if required else {})


OURS: Final = {
    "adapter": TEXT | {"description": "Ours: the adapter that translates, as name@alias."},
    "domain": TEXT | {"description": "Ours: narrows the route of a request without adapter."},
}
