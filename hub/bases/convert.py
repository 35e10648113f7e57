"""Pickled checkpoints become safetensors once, in the hub's cache.

    <cache>/bases/<key>/          config, tokenizer, weights: a folder like any other base's
    <cache>/bases/<key>.lock      held by the process that converts
    <cache>/bases/stage-<key>-*   what a process is writing; nobody opens it

The key is a digest of all files that go into the folder, so a copy of a checkpoint elsewhere finds
its conversion, and an edited file never finds a stale one. A folder appears under its key by a
rename when it is complete and on disk.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.bases.files import MARKER, read_json, side_files
from hub.bases.memory import DigestMemory
from hub.bases.weights import INDEX_SUFFIX, SAFETENSORS, WeightFiles
from hub.console import note, progress, size_text
from hub.errors import CorruptBaseError, SettingsError, StorageFullError

if TYPE_CHECKING:
    from torch import Tensor

    from hub.engine.architecture import Architecture
    from hub.engine.families import Family

FOLDER: Final = "bases"
_STAGE: Final = "stage"
_FORMAT: Final = 1
_SHARD: Final = 2**30
_SPARE: Final = 64 * 2**20
"""Room left beside the weights for tokenizer files and the file system's own needs."""


def converted(name: str, folder: Path, weights: WeightFiles, cache: Path) -> Path:
    """Return the folder of a pickled checkpoint's conversion, made now if need be.

    Args:
        name: What the user called the base.
        folder: Where its files lie.
        weights: The pickles.
        cache: The hub's.

    Raises:
        CorruptBaseError: The checkpoint cannot be read, or is not of its config's family.
        SettingsError: The cache cannot be written.
        StorageFullError: There is no room for it.
    """
    home = cache / FOLDER
    with _explained(home, weights.bytes):
        home.mkdir(parents=True, exist_ok=True)
        target = home / _key(folder, weights, DigestMemory(cache))
        if not is_complete(target):
            _sweep(home)
            with _locked(_lock_of(target)):
                _make(name, folder, weights, target)
        return target


def is_complete(target: Path) -> bool:
    """Return whether a conversion is there with all that it was made with."""
    try:
        sizes: Mapping[str, int] = read_json(target / MARKER)["files"]
        return all((target / name).stat().st_size == size for name, size in sizes.items())
    except (CorruptBaseError, OSError, KeyError, AttributeError):
        return False


def conversions(cache: Path) -> list[Path]:
    """Return the folders of all complete conversions."""
    home = cache / FOLDER
    found = sorted(home.iterdir()) if home.is_dir() else []
    return [path for path in found if is_complete(path)]


def _sweep(home: Path) -> None:
    """Remove what killed processes left; what is being written has its lock held."""
    for stage in home.glob(f"{_STAGE}-*"):
        lock = _lock_of(home / stage.name.split("-")[1])
        with _held(lock, fcntl.LOCK_EX | fcntl.LOCK_NB) as free:
            if free:
                shutil.rmtree(stage, ignore_errors=True)


def _make(name: str, folder: Path, weights: WeightFiles, target: Path) -> None:
    """Convert while the lock is held."""
    from hub.registry.disk import sync_folder

    if is_complete(target):  # another process made it while this one waited
        return
    shutil.rmtree(target, ignore_errors=True)
    before = [path.stat() for path in weights.files]
    stage = Path(tempfile.mkdtemp(prefix=f"{_STAGE}-{target.name}-", dir=target.parent))
    try:
        _write(name, folder, weights, stage)
        _check_unchanged(weights, before)
        _seal(stage)
        sync_folder(stage)
        stage.rename(target)
        sync_folder(target.parent)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _write(name: str, folder: Path, weights: WeightFiles, stage: Path) -> None:
    stage.chmod(0o755)
    for path in side_files(folder):
        shutil.copyfile(path, stage / path.name)
    tensors = _tensors(folder, weights)
    size = sum(tensor.nbytes for tensor in tensors.values())
    _check_room(stage, size)
    note(
        f"converting {name}: {size_text(weights.bytes)} of "
        f"{weights.files[0].suffix} to {size_text(size)} of safetensors in {stage.parent}, once"
    )
    write_shards(tensors, stage, size)
    files = {path.name: path.stat().st_size for path in sorted(stage.iterdir())}
    source = {"format": _FORMAT, "name": name, "source": str(folder), "files": files}
    (stage / MARKER).write_text(json.dumps(source, indent=1) + "\n", encoding="utf-8")


def _check_unchanged(weights: WeightFiles, before: list[os.stat_result]) -> None:
    for path, was in zip(weights.files, before, strict=True):
        now = path.stat()
        if (now.st_size, now.st_mtime_ns, now.st_ino) != (was.st_size, was.st_mtime_ns, was.st_ino):
            raise CorruptBaseError(
                f"{path} changed while it was converted; run the command again when it is written",
                field="base",
            )


def _seal(stage: Path) -> None:
    """Bring every file to the disk, and let nobody write to it."""
    for path in stage.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
        path.chmod(0o444)


def _tensors(folder: Path, weights: WeightFiles) -> dict[str, Tensor]:
    """Return the canonical tensors of a checkpoint, still in its files where those are mapped."""
    import torch

    from hub.bases.pickles import read_pickles
    from hub.engine.families import canonical_names

    config, family, architecture = network(folder)
    stored = read_pickles(weights.files)
    for name in weights.placed.keys() - stored.keys():
        raise CorruptBaseError(
            f"the index names tensor {name!r}, which no shard in {folder} holds; fetch the shards "
            "and their index again",
            field="base",
        )
    untied = config.get("tie_word_embeddings") is False
    names = canonical_names(family, architecture, stored.keys(), stored.__getitem__, untied=untied)
    found = {name: stored[names[name]].detach() for name in sorted(names)}
    for name, tensor in found.items():
        if not torch.is_floating_point(tensor) or tensor.element_size() < torch.half.itemsize:
            raise CorruptBaseError(
                f"tensor {name!r} in {folder} is {tensor.dtype}; a base has floating-point "
                "weights of 16 bits or more",
                field="base",
            )
    _check_size(folder, weights, found)
    return found


def network(folder: Path) -> tuple[Mapping[str, Any], Family, Architecture]:
    """Return a folder's config with its family and shape.

    Raises:
        BaseNotFoundError: The family is not served.
        CorruptBaseError: The config is damaged.
    """
    from hub.bases.base import Base
    from hub.engine.families import find_family

    base = Base(str(folder), folder)
    family = find_family(base.config)
    return base.config, family, family.architecture(base.decoding_config)


def _check_size(folder: Path, weights: WeightFiles, tensors: Mapping[str, Tensor]) -> None:
    """Check that the tensors are no larger than the files: aliases of one storage could be."""
    size = sum(tensor.nbytes for tensor in tensors.values())
    if size > weights.bytes:
        raise CorruptBaseError(
            f"the checkpoint in {folder} claims {size:,} bytes of tensors in {weights.bytes:,} "
            "bytes of files; take a copy from a source that you trust",
            field="base",
        )


def write_shards(tensors: Mapping[str, Tensor], stage: Path, size: int) -> None:
    """Write weights in shards, so that progress is seen and little is in memory at once."""
    shards = list(_shards(tensors))
    weight_map: dict[str, str] = {}
    with progress(f"writing {size_text(size)}", size) as bar:
        for number, names in enumerate(shards, start=1):
            file = stage / _shard_name(number, len(shards))
            _save({name: tensors[name] for name in names}, file)
            weight_map |= dict.fromkeys(names, file.name)
            bar.advance(sum(tensors[name].nbytes for name in names))
    if len(shards) > 1:
        index = {"metadata": {"total_size": size}, "weight_map": weight_map}
        path = stage / f"{SAFETENSORS}{INDEX_SUFFIX}"
        path.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _shards(tensors: Mapping[str, Tensor]) -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for name, tensor in tensors.items():
        if names and size + tensor.nbytes > _SHARD:
            yield names
            names, size = [], 0
        names.append(name)
        size += tensor.nbytes
    yield names


def _shard_name(number: int, count: int) -> str:
    if count == 1:
        return SAFETENSORS
    stem, _, suffix = SAFETENSORS.rpartition(".")
    return f"{stem}-{number:05}-of-{count:05}.{suffix}"


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    from safetensors.torch import save_file

    save_file(_apart(tensors), file, metadata={"format": "pt"})


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors of which no two share memory, as the format demands."""
    import torch

    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        whole = tensor.nbytes == tensor.untyped_storage().nbytes()
        if storage in seen or not whole:
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        found[name] = tensor.contiguous()
        seen.add(storage)
    return found


def _key(folder: Path, weights: WeightFiles, memory: DigestMemory) -> str:
    """Return a digest of everything that the converted folder will be made of."""
    files = {path.name: memory.file(path) for path in (*side_files(folder), *weights.files)}
    content = json.dumps({"format": _FORMAT, "files": files}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _lock_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.lock")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes, waiting for it if need be."""
    with _held(path, fcntl.LOCK_EX | fcntl.LOCK_NB) as free:
        if free:
            yield
            return
    note("another process is converting this base; waiting for it")
    with _held(path, fcntl.LOCK_EX):
        yield


@contextmanager
def _held(path: Path, operation: int) -> Iterator[bool]:
    """Take a lock, which dies with its holder; yield whether it was to be had."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _check_room(stage: Path, size: int) -> None:
    free = shutil.disk_usage(stage).free
    if free < size + _SPARE:
        needed = size_text(size + _SPARE)
        raise _full(stage.parent, f"{needed} are needed, {size_text(free)} are free")


@contextmanager
def _explained(home: Path, size: int) -> Iterator[None]:
    """Turn failures to write into errors that name the folder and the setting."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        if "No space left" in str(error) or "os error 28" in str(error):
            raise _full(home, f"about {size_text(size)} are needed") from error
        raise SettingsError(f"{home} cannot be written: {error}; set HUB_CACHE") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(home, f"about {size_text(size)} are needed") from error
        raise SettingsError(
            f"{error.filename or home}: {error.strerror}; converted bases are kept in {home}, set "
            "HUB_CACHE to a folder that can be written",
            field="cache",
        ) from error


def _full(home: Path, why: str) -> StorageFullError:
    return StorageFullError(
        f"no room to convert the base in {home}: {why}; free some space, or set HUB_CACHE to a "
        "folder on another disk",
        field="cache",
    )
