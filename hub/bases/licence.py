"""The licence of a base's weights, as its folder or its name states it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

_KNOWN: Final[Mapping[str, str]] = MappingProxyType({"facebook/nllb-200": "CC-BY-NC-4.0"})
"""Of checkpoints that are often kept without their card, by the beginning of their ids."""
_OTHER: Final = "other"
_NON_COMMERCIAL: Final = re.compile(r"(?i)\bnc\b|non-?commercial")


def licence_of(
    name: str, folder: Path, record: Mapping[str, Any], config: Mapping[str, Any]
) -> str:
    """Return the licence of base.json, of the model card, or of a checkpoint known by name.

    Args:
        name: What the user called the base.
        folder: The base's.
        record: Its base.json.
        config: Its config.json, which may say what the weights were loaded from.
    """
    stated = str(record.get("licence", "")) or _licence_of_card(folder / "README.md")
    return stated or _known(name) or _known(str(config.get("_name_or_path", "")))


def licence_text(licence: str) -> str:
    """Return a base's licence as people are told it; adapters are bound by it too."""
    if not licence:
        return "not stated"
    forbids = _NON_COMMERCIAL.search(licence.replace("_", "-"))
    return f"{licence}: no commercial use of the base or its adapters" if forbids else licence


def _known(name: str) -> str:
    found = (licence for start, licence in _KNOWN.items() if name.startswith(start))
    return next(found, "")


def _licence_of_card(card: Path) -> str:
    """Return `license:` of a model card's front matter: one, several, or one by another name."""
    try:
        lines = card.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return ""
    front = list(_front_matter(lines))
    stated = _values(front, "license")
    if stated == [_OTHER]:
        stated = _values(front, "license_name") or _values(front, "license_link") or stated
    return ", ".join(stated)


def _front_matter(lines: list[str]) -> Iterator[str]:
    if not lines or lines[0].strip() != "---":
        return
    for line in lines[1:]:
        if line.strip() == "---":
            return
        yield line


def _values(lines: list[str], key: str) -> list[str]:
    """Return the values of a YAML key: after it, in brackets, or as a list in the next lines."""
    for at, line in enumerate(lines):
        if not line.startswith(f"{key}:"):
            continue
        rest = line.partition(":")[2].partition(" #")[0].strip()
        if rest:
            return [each for word in rest.strip("[]").split(",") if (each := _bare(word))]
        return [_bare(item.strip()[1:]) for item in _items(lines[at + 1 :])]
    return []


def _items(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.strip().startswith("- "):
            return
        yield line


def _bare(word: str) -> str:
    return word.strip().strip("\"'")
