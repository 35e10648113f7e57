"""Opening a base by ref: the embedded one, a folder, or an id of the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from hub.bases.base import EMBEDDED, Base
from hub.bases.convert import converted
from hub.bases.files import check_inside, side_files
from hub.bases.weights import find_weights
from hub.errors import BaseNotFoundError, CorruptBaseError
from hub.settings import load_settings

_ADAPTER_CONFIG = "adapter_config.json"


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
        return _open_folder(ref, Path(__file__).parent / "embedded", cache)
    folder = Path(ref).expanduser()
    if folder.is_dir():
        return _open_folder(ref, folder.resolve(), cache)
    if ref.count("/") == 1 and not ref.startswith((".", "/", "~")):
        return _open_folder(ref, _download(ref), cache)
    raise BaseNotFoundError(
        f"base {ref!r} is neither {EMBEDDED!r}, a folder, nor a Hugging Face id (owner/name)",
        field="base",
    )


def _open_folder(ref: str, folder: Path, cache: Path | None, commit: str = "") -> Base:
    """Open a folder, through its conversion where its weights are pickled."""
    _check_config(ref, folder)
    side_files(folder)
    weights = find_weights(folder)
    if weights.form == "safetensors":
        base = Base(name=ref, folder=folder, commit=commit, cache=cache)
        _ = base.stored
        return base
    made = converted(folder, weights, load_settings().cache if cache is None else cache)
    return Base(name=ref, folder=made, origin=folder, commit=commit, cache=cache)


def _check_config(ref: str, folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise BaseNotFoundError(
            f"base {ref!r}: no config.json in {folder}; give a transformers folder", field="base"
        )
    check_inside(folder, folder / "config.json")
    if (folder / _ADAPTER_CONFIG).exists():
        raise CorruptBaseError(
            f"base {ref!r}: {folder} holds an {_ADAPTER_CONFIG}, which transformers would load "
            "into the base; move the adapter's files to a folder of their own",
            field="base",
        )


def _download(ref: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.model", "*.spm", "README.md"]
    try:
        return Path(snapshot_download(ref, allow_patterns=patterns))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BaseNotFoundError(
            f"base {ref!r} cannot be had from the Hugging Face Hub ({type(error).__name__}); "
            "check the name and the network, or give a local folder",
            field="base",
        ) from error
