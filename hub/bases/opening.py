"""Opening a base by ref: the embedded one, a folder, or an id of the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from hub.bases.base import EMBEDDED, Base
from hub.bases.convert import converted
from hub.bases.download import HubRef, fetch
from hub.bases.files import check_inside, read_json, side_files
from hub.bases.weights import find_weights
from hub.errors import BaseNotFoundError, CorruptBaseError
from hub.settings import load_settings

_ADAPTER_CONFIG = "adapter_config.json"
_OTHER_WEIGHTS = "transformers_weights"
"""Key by which transformers 5 loads another file than the canonical one."""


def open_base(ref: str = EMBEDDED, *, cache: Path | None = None) -> Base:
    """Find a base model by ref: `embedded`, a local folder, or a Hugging Face id.

    A folder with `pytorch_model.bin` alone is converted to safetensors first, once.

    Args:
        ref: What the user typed.
        cache: Folder of the hub's caches; the setting's if not given.

    Raises:
        BaseNotFoundError: There is no such folder, and the id cannot be had.
        CorruptBaseError: The folder lacks weights, or they are damaged.
        StorageFullError: There is no room to convert it.
    """
    if ref == EMBEDDED:
        return _open_folder(ref, embedded_folder(), cache)
    folder = _local_folder(ref)
    if folder is not None:
        return _open_folder(ref, folder, cache)
    found = HubRef.parse(ref)
    if found is None:
        raise BaseNotFoundError(
            f"base {ref!r} is neither {EMBEDDED!r}, a folder, nor a Hugging Face id (owner/name or "
            "owner/name@revision)",
            field="base",
        )
    fetched = fetch(found)
    return _open_folder(ref, fetched.folder, cache, fetched.commit)


def embedded_folder() -> Path:
    """Return the folder of the base that ships with the package."""
    return Path(__file__).parent / "embedded"


def _local_folder(ref: str) -> Path | None:
    """Return the folder that a ref names, None where it names none."""
    try:
        folder = Path(ref).expanduser()
        return folder.resolve() if ref and folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long a name, no such user, a null character
        return None


def _open_folder(ref: str, folder: Path, cache: Path | None, commit: str = "") -> Base:
    """Open a folder, through its conversion where its weights are pickled."""
    _check_config(ref, folder)
    side_files(folder)
    weights = find_weights(folder)
    if weights.form == "safetensors":
        base = Base(name=ref, folder=folder, commit=commit, cache=cache)
        _ = base.stored
        return base
    made = converted(ref, folder, weights, load_settings().cache if cache is None else cache)
    return Base(name=ref, folder=made, origin=folder, commit=commit, cache=cache)


def _check_config(ref: str, folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise BaseNotFoundError(
            f"base {ref!r}: no config.json in {folder}; give a transformers folder", field="base"
        )
    check_inside(folder, folder / "config.json")
    elsewhere = read_json(folder / "config.json").get(_OTHER_WEIGHTS)
    if elsewhere is not None:
        raise CorruptBaseError(
            f"base {ref!r}: {_OTHER_WEIGHTS} of config.json names {elsewhere!r:.80}; weights have "
            "their usual names here, take the key out",
            field="base",
        )
    if (folder / _ADAPTER_CONFIG).exists():
        raise CorruptBaseError(
            f"base {ref!r}: {folder} holds an {_ADAPTER_CONFIG}, which transformers would load "
            "into the base; move the adapter's files to a folder of their own",
            field="base",
        )
