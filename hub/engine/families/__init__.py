"""Checkpoints of known families: their config and tensor names in our terms."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from hub.engine.families.bart_like import BART, MBART
from hub.engine.families.canonical import canonical_names
from hub.engine.families.checkpoint import Checkpoint
from hub.engine.families.family import Family
from hub.engine.families.m2m import M2M_100
from hub.engine.families.marian import MARIAN
from hub.engine.families.t5 import T5, T5_GATED, is_gated
from hub.errors import BaseNotFoundError

__all__ = ["Checkpoint", "Family", "canonical_names", "find_family"]

_FAMILIES: Final[Mapping[str, Family]] = MappingProxyType(
    {"m2m_100": M2M_100, "mbart": MBART, "bart": BART, "marian": MARIAN, "t5": T5, "mt5": T5}
)


def find_family(config: Mapping[str, Any]) -> Family:
    """Return the family of a config.json.

    Raises:
        BaseNotFoundError: The engine does not know the `model_type`; names it.
    """
    model_type = config.get("model_type")
    family = _FAMILIES.get(str(model_type))
    if family is None:
        known = ", ".join(sorted(_FAMILIES))
        raise BaseNotFoundError(
            f"the engine does not serve model_type {model_type!r}; it serves {known}"
        )
    return T5_GATED if family is T5 and is_gated(config) else family
