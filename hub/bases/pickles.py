"""Reading `pytorch_model.bin`: tensors alone, without running anything that a pickle names."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.errors import CorruptBaseError

if TYPE_CHECKING:
    from torch import Tensor

_ZIP: Final = b"PK\x03\x04"
_GLOBAL: Final = re.compile(r"GLOBAL ([\w.<>]+)")
_REASON: Final = re.compile(r"WeightsUnpickler error: (.*)")
_SAFE_COPY: Final = "take a copy of the model in safetensors from a source that you trust"


def read_pickles(files: tuple[Path, ...]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, mapped from its files where their format allows it.

    Raises:
        CorruptBaseError: A file is damaged, wants to run code, or holds anything but a flat table
            of dense floating-point tensors; names the file and the remedy.
    """
    found: dict[str, Tensor] = {}
    for path in files:
        for name, tensor in _read(path).items():
            if name in found:
                raise CorruptBaseError(
                    f"tensor {name!r} is in {path} and in another shard; one of the shards is of "
                    "another model",
                    field="base",
                )
            found[name] = tensor
    return found


def _read(path: Path) -> Mapping[str, Tensor]:
    with path.open("rb") as stream:
        zipped = stream.read(len(_ZIP)) == _ZIP
    if zipped:
        _check_archive(path)
    content = _load(path, mapped=zipped)
    if not isinstance(content, Mapping):
        raise _wrong(path, f"holds {type(content).__name__}, not a table of tensors")
    for name, value in content.items():
        _check_entry(path, name, value)
    return content


def _load(path: Path, *, mapped: bool) -> Any:
    """Let torch read the file; `weights_only` builds tensors and containers, nothing else."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a hostile file can fail in any way, inside torch
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CorruptBaseError:
    """Say why; torch's own advice, to read the file without the safeguard, is left out."""
    named = _GLOBAL.search(str(error))
    if named:
        return CorruptBaseError(
            f"{path} is refused: its pickle asks for {named[1]}, and a checkpoint of tensors needs "
            f"no code; {_SAFE_COPY}",
            field="base",
        )
    found = _REASON.search(str(error))
    lines = [found[1]] if found else str(error).splitlines() or [""]
    reason = "" if lines[0].startswith("Weights only load failed") else f": {lines[0]:.120}"
    return _wrong(path, f"is damaged or no checkpoint of PyTorch ({type(error).__name__}{reason})")


def _check_archive(path: Path) -> None:
    """Check that an archive holds what its size says: nothing is packed, nothing overlaps."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _wrong(path, f"is truncated or damaged ({error})") from error
    size = path.stat().st_size
    packed = next((entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise _wrong(path, f"holds {packed.filename!r} compressed, which PyTorch never writes")
    whole = sum(entry.file_size for entry in entries)
    if whole > size:
        raise _wrong(path, f"claims {whole:,} bytes of content and has {size:,}")


def _check_entry(path: Path, name: object, value: object) -> None:
    import torch

    if not isinstance(name, str):
        raise _wrong(path, f"has an entry named {name!r:.40}, not by a tensor's name")
    if not isinstance(value, torch.Tensor):
        kind = type(value).__name__
        raise _wrong(path, f"holds {kind} under {name!r:.80}, where a checkpoint has a tensor")
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        raise _wrong(path, f"tensor {name!r} is not dense, or has no values")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise _wrong(path, f"tensor {name!r} has shape {tuple(value.shape)} over fewer values")


def _wrong(path: Path, what: str) -> CorruptBaseError:
    return CorruptBaseError(f"{path} {what}; fetch the file again, or {_SAFE_COPY}", field="base")
