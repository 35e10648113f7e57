"""Which bases are on this machine: the embedded one, the Hub's cache, and conversions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hub.bases.base import EMBEDDED
from hub.bases.convert import conversions
from hub.bases.files import MARKER, read_json
from hub.bases.opening import embedded_folder
from hub.bases.weights import find_weights
from hub.errors import HubError


@dataclass(frozen=True, slots=True)
class Kept:
    """A base on disk.

    Attributes:
        name: What `--base` takes.
        kind: "embedded", "fetched" or "converted".
        family: The model_type.
        bytes: Of the weights.
        folder: Where they lie.
    """

    name: str
    kind: str
    family: str
    bytes: int
    folder: Path


def kept_bases(cache: Path) -> list[Kept]:
    """Return the bases that open without network, by kind and name.

    Args:
        cache: Folder of the hub's caches.
    """
    own = _kept(EMBEDDED, "embedded", embedded_folder())
    fetched = (_kept(name, "fetched", folder) for name, folder in _snapshots())
    converted = (_kept(_name(folder), "converted", folder) for folder in conversions(cache))
    found = [each for each in (own, *fetched, *converted) if each is not None]
    return [own for own in found if own.kind == "embedded"] + sorted(
        (each for each in found if each.kind != "embedded"), key=lambda each: (each.name, each.kind)
    )


def _kept(name: str, kind: str, folder: Path) -> Kept | None:
    """Return a base if the folder is one that the engine serves."""
    from hub.engine.families import find_family

    try:
        config = read_json(folder / "config.json")
        find_family(config)
        size = find_weights(folder).bytes
    except (HubError, OSError):
        return None
    return Kept(name, kind, str(config["model_type"]), size, folder)


def _snapshots() -> Iterator[tuple[str, Path]]:
    """Yield every model in the Hub's cache with its refs and commits."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, ValueError, OSError):
        return
    for repository in repositories:
        if repository.repo_type != "model":
            continue
        for revision in repository.revisions:
            is_main = "main" in revision.refs
            at = "" if is_main else f"@{next(iter(sorted(revision.refs)), revision.commit_hash)}"
            yield f"{repository.repo_id}{at}", revision.snapshot_path


def _name(folder: Path) -> str:
    return str(read_json(folder / MARKER).get("name", folder.name))
