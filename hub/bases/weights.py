"""Which files of a folder hold a model's weights, decided as transformers decides it.

The canonical name or an index decides, never a pattern: a folder may hold an adapter, a second
copy of the weights, or the weights of another framework beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from hub.bases.files import check_inside, read_json
from hub.errors import CorruptBaseError

Form = Literal["safetensors", "pickle"]

SAFETENSORS: Final = "model.safetensors"
PICKLE: Final = "pytorch_model.bin"
INDEX_SUFFIX: Final = ".index.json"
_FORMS: Final[tuple[tuple[str, Form], ...]] = ((SAFETENSORS, "safetensors"), (PICKLE, "pickle"))
_SUFFIXES: Final[Mapping[Form, str]] = {"safetensors": ".safetensors", "pickle": ".bin"}
_FOREIGN: Final[Mapping[str, str]] = {
    "tf_model.h5": "TensorFlow",
    "flax_model.msgpack": "Flax",
    "rust_model.ot": "rust-bert",
    "*.onnx": "ONNX",
    "*.gguf": "GGUF",
}
_LFS_POINTER: Final = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The weights of a model on disk.

    Attributes:
        form: What the files are.
        files: All of them, in the order of their names.
        placed: Tensor names with their files, as an index says; empty for a single file.
    """

    form: Form
    files: tuple[Path, ...]
    placed: Mapping[str, Path]

    @property
    def bytes(self) -> int:
        """Return the size of all files."""
        return sum(path.stat().st_size for path in self.files)


def find_weights(folder: Path) -> WeightFiles:
    """Find a model's weights: safetensors before pickles, one file before several.

    Raises:
        CorruptBaseError: There are none, an index names files that are not there or not in the
            folder, or a file is a link out of the folder or a Git LFS pointer.
    """
    for name, form in _FORMS:
        if (folder / name).exists():
            return _checked(folder, WeightFiles(form, (folder / name,), {}))
        index = folder / f"{name}{INDEX_SUFFIX}"
        if index.exists():
            return _checked(folder, _indexed(folder, index, form))
    raise CorruptBaseError(f"{folder} has no weights: {_instead(folder)}", field="base")


def shard_names(index: Path) -> Mapping[str, str]:
    """Return the tensor names of an index with the file names of their shards.

    Raises:
        CorruptBaseError: It is not an index, or names a file outside of its folder.
    """
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CorruptBaseError(f"{index} has no weight_map; fetch the file again", field="base")
    for name in weight_map.values():
        if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
            raise CorruptBaseError(
                f"{index} names the file {name!r}; shards lie beside their index, under plain "
                "names",
                field="base",
            )
    return weight_map


def _indexed(folder: Path, index: Path, form: Form) -> WeightFiles:
    check_inside(folder, index)
    names = shard_names(index)
    for name in sorted(set(names.values())):
        if not name.endswith(_SUFFIXES[form]):
            raise CorruptBaseError(
                f"{index} names {name!r}, which is no {_SUFFIXES[form]} file", field="base"
            )
        if not (folder / name).is_file():
            raise CorruptBaseError(
                f"{index} names {name}, which is not in {folder}; fetch the missing file",
                field="base",
            )
    placed = {tensor: folder / name for tensor, name in names.items()}
    return WeightFiles(form, tuple(sorted(set(placed.values()))), placed)


def _checked(folder: Path, found: WeightFiles) -> WeightFiles:
    for path in found.files:
        check_inside(folder, path)
        if not path.is_file():
            raise CorruptBaseError(f"{path} is not a file", field="base")
        with path.open("rb") as stream:
            if stream.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise CorruptBaseError(
                    f"{path} is a Git LFS pointer, not the weights; run `git lfs pull` in the "
                    "folder",
                    field="base",
                )
    return found


def _instead(folder: Path) -> str:
    """Say what the folder has in place of weights, and the remedy."""
    for pattern, framework in _FOREIGN.items():
        for path in sorted(folder.glob(pattern)):
            return (
                f"it holds {path.name} ({framework}), which is not read; take a copy of the model "
                f"with {SAFETENSORS} or {PICKLE}"
            )
    for path in _misnamed(folder):
        return (
            f"it holds {path.name}, but neither {SAFETENSORS}, {PICKLE} nor an index of shards; "
            "rename the file if it is the whole model, or fetch the index"
        )
    return f"{SAFETENSORS} or {PICKLE} is missing, one file or shards with their {INDEX_SUFFIX}"


def _misnamed(folder: Path) -> Iterator[Path]:
    for suffix in _SUFFIXES.values():
        yield from sorted(folder.glob(f"*{suffix}"))
