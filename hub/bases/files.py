"""The files of a base folder: which there are, where they may lie, and how they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hub.errors import CorruptBaseError

RECORD: Final = "base.json"
_SIDE_PATTERNS: Final = ("*.json", "*.model", "*.spm", "*.txt", "README.md", "LICENSE*")
MARKER: Final = "converted.json"
"""What a converted folder was made from, and the sizes of its weight files."""
_NOT_SIDE: Final = (
    "*.index.json", "adapter_config.json", "hub.json", "trainer_state.json", MARKER
)  # fmt: skip
_LARGEST_JSON: Final = 256 * 2**20
_BLOBS: Final = "blobs"
_SNAPSHOTS: Final = "snapshots"


def side_files(folder: Path) -> list[Path]:
    """Return what a base folder holds beside its weights: config, tokenizer, card, record.

    Raises:
        CorruptBaseError: A file is a link out of the folder.
    """
    found = {path for pattern in _SIDE_PATTERNS for path in folder.glob(pattern)}
    kept = [path for path in sorted(found) if not any(path.match(no) for no in _NOT_SIDE)]
    for path in kept:
        check_inside(folder, path)
    return [path for path in kept if path.is_file()]


def check_inside(folder: Path, path: Path) -> None:
    """Check that a file is in the folder, not a link out of it.

    The Hugging Face cache links from a snapshot's folder to the blobs beside it, and from there to
    blobs that several models share; that is inside.

    Raises:
        CorruptBaseError: It is elsewhere, or a link to nothing.
    """
    home, place = folder.resolve(), path.resolve()
    homes = [home]
    if home.parent.name == _SNAPSHOTS:
        repository = home.parent.parent
        homes += [repository / _BLOBS, repository.parent / _BLOBS]
    if not any(place.is_relative_to(each) for each in homes):
        raise CorruptBaseError(
            f"{path} is a link to {place}, outside of the base's folder; put a copy of the file "
            "in its place",
            field="base",
        )
    if path.is_symlink() and not place.exists():
        raise CorruptBaseError(
            f"{path} is a link to {place}, which does not exist; fetch the file again", field="base"
        )


def read_json(path: Path) -> Mapping[str, Any]:
    """Return a JSON object.

    Raises:
        CorruptBaseError: It cannot be read, or is something else.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST_JSON:
            raise ValueError(f"{size:,} bytes, at most {_LARGEST_JSON:,} are read")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptBaseError(f"{path} cannot be read as JSON: {error}", field="base") from error
    if not isinstance(content, dict):
        raise CorruptBaseError(f"{path} holds {type(content).__name__}, expected a JSON object")
    return content
