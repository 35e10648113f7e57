"""A PEFT folder made elsewhere, read and checked without its base."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from hub.bases.files import check_inside
from hub.errors import (
    AdapterBindingError,
    AdapterNotFoundError,
    CorruptBaseError,
    CorruptBlobError,
    HubError,
    IncompatibleAdapterError,
)
from hub.manifest import MANIFEST_FILE
from hub.registry.blobs import digest_of_files
from hub.registry.disk import file_sha256
from hub.registry.exchange.sources import CONFIG, PICKLE, SAFETENSORS, VOCABULARY, Source

if TYPE_CHECKING:
    from torch import Tensor

    from hub.budget import ModelDimensions

MAX_CONFIG_BYTES: Final = 1 << 20
_BYTES_OF_A_VALUE: Final = 4
_SPARE_BYTES: Final = 64 << 20
_OWN_KINDS: Final = ("BITFIT", "BOTTLENECK", "CROSS_ATTENTION", "FULL", "KV_PREFIX", "NORMS")
FOLDED: Final = ("ADALORA", "VERA")
IMPORTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "LORA": "lora", "ADALORA": "lora", "VERA": "lora", "IA3": "ia3", "LN_TUNING": "ln_tuning",
        "PREFIX_TUNING": "prefix_tuning", "TRAINABLE_TOKENS": "tokens",
    }
)  # fmt: skip
"""PEFT types that can be imported, with the method that they become."""


@dataclass(frozen=True)
class ForeignAdapter:
    """An adapter as it came.

    Attributes:
        source: Its name.
        config: adapter_config.json.
        tensors: By the names that PEFT saves.
        digest: Of the files that were read.
        told: What was ignored or read in another way than PEFT writes it.
    """

    source: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    digest: str
    told: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Return the `peft_type`."""
        return str(self.config["peft_type"])

    @property
    def base_hint(self) -> str:
        """Return the base that the config names, "" for none."""
        return str(self.config.get("base_model_name_or_path") or "")


def read_foreign(source: Source, base: ModelDimensions) -> ForeignAdapter:
    """Read a PEFT folder.

    Args:
        source: Where it is.
        base: Sizes of the base that it is for.

    Raises:
        AdapterNotFoundError: The folder holds no adapter.
        IncompatibleAdapterError: The kind cannot be imported, or tokens were added.
        AdapterBindingError: Tensors of several adapters, or two of one meaning.
        CorruptBlobError: A file cannot be read, or wants to run code.
    """
    folder = source.folder
    config = _read_config(folder)
    _check_kind(config)
    _check_vocabulary(folder, base.vocab_size)
    weights = _weights_file(folder)
    _check_size(weights, base.parameters)
    tensors, renamed = _named(_read_weights(weights))
    told = _ignored(folder, weights) + renamed
    if weights.name == PICKLE:
        told += (f"{PICKLE} converted to {SAFETENSORS}",)
    return ForeignAdapter(source.name, config, tensors, _digest(folder, weights), told)


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG
    if (folder / MANIFEST_FILE).exists():
        raise IncompatibleAdapterError(
            f"{folder} has a {MANIFEST_FILE}: it is an adapter of a hub; publish it with "
            "`hub adapters publish`",
            field="source",
        )
    if not path.exists():
        raise _no_adapter(folder)
    _check_regular(folder, path)
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"it has over {MAX_CONFIG_BYTES:,} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptBlobError(f"{path} cannot be read: {error}", field="source") from None
    if not isinstance(config, dict):
        raise CorruptBlobError(f"{path} is not a JSON object", field="source")
    return config


def _no_adapter(folder: Path) -> HubError:
    inside = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
    if inside:
        return IncompatibleAdapterError(
            f"{folder} holds {len(inside)} adapters in folders of their own "
            f"({', '.join(inside[:5])}); give the folder of one",
            field="source",
        )
    return AdapterNotFoundError(
        f"{folder} has no {CONFIG}: it is no PEFT adapter; give the folder that save_pretrained "
        "wrote",
        field="source",
    )


def _check_kind(config: Mapping[str, Any]) -> None:
    from hub.engine.readers.options import refuse_unknown

    kind = config.get("peft_type")
    if isinstance(kind, str) and kind in IMPORTED:
        refuse_unknown(config)
        return
    if kind in _OWN_KINDS:
        why = (
            f"is the hub's own, without its {MANIFEST_FILE}; publish the run's folder with "
            "`hub adapters publish`"
        )
    else:
        why = (
            f"cannot be served; {', '.join(sorted(IMPORTED))} can be imported. Merge it into a "
            "copy of its base and serve that folder as a base of its own"
        )
    raise IncompatibleAdapterError(f"an adapter of kind {kind!r:.60} {why}", field="peft_type")


def _check_vocabulary(folder: Path, vocabulary: int) -> None:
    """Refuse a tokenizer beside the adapter that has tokens which the base has not."""
    for name in VOCABULARY:
        path = folder / name
        for token, number in _added_tokens(path) if path.is_file() else ():
            if number >= vocabulary:
                raise IncompatibleAdapterError(
                    f"{name} adds the token {token!r:.60} with id {number}, the base has "
                    f"{vocabulary:,} tokens: the adapter was trained on a base with a resized "
                    "vocabulary, which is a base of its own; save that base and name it with "
                    "--base",
                    field="source",
                )


def _added_tokens(path: Path) -> list[tuple[str, int]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(content, dict):
        return []
    decoder = content.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        pairs = [
            (str(entry.get("content") if isinstance(entry, dict) else entry), number)
            for number, entry in decoder.items()
        ]
    else:
        pairs = list(content.items())
    return [(token, int(number)) for token, number in pairs if str(number).isdecimal()]


def _weights_file(folder: Path) -> Path:
    for name in (SAFETENSORS, PICKLE):
        if (folder / name).exists() or (folder / name).is_symlink():
            _check_regular(folder, folder / name)
            return folder / name
    raise AdapterNotFoundError(
        f"{folder} has neither {SAFETENSORS} nor {PICKLE}; give the folder that save_pretrained "
        "wrote",
        field="source",
    )


def _check_size(path: Path, parameters: int) -> None:
    size, limit = path.stat().st_size, _BYTES_OF_A_VALUE * parameters + _SPARE_BYTES
    if size > limit:
        raise IncompatibleAdapterError(
            f"{path} has {size:,} bytes, more than the whole base ({parameters:,} parameters): it "
            "is no adapter of that base",
            field="source",
        )


def _check_regular(folder: Path, path: Path) -> None:
    """Refuse links out of the folder and special files; the Hub's cache links to its blobs."""
    try:
        check_inside(folder, path)
    except CorruptBaseError as error:
        where = error.message.replace("the base's folder", "the adapter's folder")
        raise CorruptBlobError(where, field="source") from None
    if not path.resolve().is_file():
        raise CorruptBlobError(f"{path} is not a regular file", field="source")


def _read_weights(path: Path) -> Mapping[str, Tensor]:
    if path.name == PICKLE:
        from hub.bases.pickles import read_pickles

        try:
            return read_pickles((path,))
        except CorruptBaseError as error:
            raise CorruptBlobError(error.message, field="source") from None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            return {name: handle.get_tensor(name).clone() for name in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CorruptBlobError(
            f"{path} cannot be read as safetensors: {error}; fetch or save it again",
            field="source",
        ) from None


def _named(tensors: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """Return tensors under PEFT's names, and what was said about the names.

    Raises:
        AdapterBindingError: The file holds several adapters, or two tensors of one meaning.
    """
    from hub.engine.readers.spelling import adapter_name, canonical_name, names_parameter

    adapters = sorted({adapter_name(name) for name in tensors if names_parameter(name)})
    if len(adapters) > 1:
        raise AdapterBindingError(
            "the file holds tensors of several adapters: "
            f"{', '.join(repr(name) if name else 'one without a name' for name in adapters[:5])}; "
            "save one alone (save_pretrained with selected_adapters)"
        )
    found: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, tensor in tensors.items():
        canonical = canonical_name(name)
        if canonical in found:
            raise AdapterBindingError(
                f"tensors {origin[canonical]!r} and {name!r} mean the same; save the adapter again"
            )
        found[canonical], origin[canonical] = tensor, name
    changed = [name for canonical, name in origin.items() if canonical != name]
    if not changed:
        return found, ()
    example = f"{changed[0]} is {canonical_name(changed[0])}"
    return found, (f"{len(changed)} tensors have other names than PEFT's: {example}",)


def _ignored(folder: Path, weights: Path) -> tuple[str, ...]:
    used = {CONFIG, weights.name}
    others = sorted(
        f"{path.name}/" if path.is_dir() else path.name
        for path in folder.iterdir()
        if path.name not in used and not path.name.startswith(".")
    )
    if not others:
        return ()
    more = f" and {len(others) - 8} more" if len(others) > 8 else ""
    return (f"ignored: {', '.join(others[:8])}{more}",)


def _digest(folder: Path, weights: Path) -> str:
    """Return the digest of the files that were read, as the registry forms digests."""
    files = {path.name: file_sha256(path.resolve()) or "" for path in (folder / CONFIG, weights)}
    return digest_of_files(files)
