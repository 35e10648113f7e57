"""What identifies a base: a digest of its content, the same for all forms of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.bases.headers import TensorPlace
from hub.bases.memory import DigestMemory
from hub.errors import CorruptBaseError

if TYPE_CHECKING:
    from hub.bases.base import Base
    from hub.engine.architecture import Architecture

_FORMAT: Final = 2
_TOKENIZER: Final = ("vocab.json", "tokenizer.json", "*.model", "*.spm")
_FORMER: Final = ("config.json", "*.safetensors", *_TOKENIZER)
_NETWORK: Final = (
    "family", "d_model", "vocab_size", "encoder_layers", "decoder_layers", "encoder_heads",
    "decoder_heads", "encoder_ffn", "decoder_ffn", "max_positions", "activation",
    "norm_placement", "norm_kind", "norm_epsilon", "positions", "position_offset",
    "gated_feed_forward", "biases", "embedding_scale", "embedding_norm", "final_norm",
    "output_scale", "decoder_start_id", "pad_id", "eos_ids", "head_dim", "attention_scaled",
)  # fmt: skip
"""Facts of the architecture that make up the identity. The list is fixed: a fact added to it
changes the digest of every base."""


def content_digest(
    folder: Path,
    architecture: Architecture,
    tensors: Mapping[str, TensorPlace],
    memory: DigestMemory,
) -> str:
    """Return `sha256:…` over the network, its tensors and the tokenizer's files.

    The network is what the engine computes with, not the text of config.json, which changes from
    one release of transformers to the next. How a base decodes by default (beams, lengths,
    forbidden tokens) is not part of it: an adapter does not depend on that.

    Raises:
        CorruptBaseError: A file cannot be read.
    """
    hashes = {file: memory.tensors(file) for file in {place.file for place in tensors.values()}}
    return _digest(
        {
            "format": _FORMAT,
            "network": network_facts(architecture),
            "tensors": {
                name: [place.dtype, list(place.shape), hashes[place.file][place.name]]
                for name, place in tensors.items()
            },
            "tokenizer": _hash_files(folder, _TOKENIZER, memory),
        }
    )


def network_facts(architecture: Architecture) -> dict[str, Any]:
    """Return the architecture's part of the identity as plain values."""
    facts = {name: getattr(architecture, name) for name in _NETWORK}
    relative = architecture.relative
    buckets = None if relative is None else [relative.buckets, relative.max_distance]
    return facts | {"relative": buckets}


def former_digest(folder: Path, memory: DigestMemory) -> str:
    """Return the digest that releases up to 0.1 gave a folder: over its files, byte by byte.

    Adapters that were published with it name their base by it.
    """
    return _digest(_hash_files(folder, _FORMER, memory))


def check_digest(base: Base, expected: str) -> None:
    """Compute the digest of a base from its content, and compare it with the expected one.

    Args:
        base: An opened base.
        expected: "sha256:…", "" for any.

    Raises:
        CorruptBaseError: It is another, or the base's own record names other files.
    """
    found = base.digest
    if expected and found != expected:
        raise CorruptBaseError(
            f"base {base.name!r} has the digest {found}, but base_digest asks for {expected}; "
            "restore its files, or set base_digest to what is to be served",
            field="base_digest",
        )


def check_recorded(
    name: str, folder: Path, recorded: Mapping[str, Any], memory: DigestMemory
) -> None:
    """Check the files that a built base's record names.

    Raises:
        CorruptBaseError: One is missing or has other content.
    """
    for file, expected in recorded.items():
        path = folder / file
        found = memory.file(path) if Path(file).name == file and path.is_file() else None
        if found != expected:
            raise CorruptBaseError(
                f"base {name!r}: {file} has sha256 {found}, but base.json records {expected}; "
                "restore the file or rebuild with `hub bases build`"
            )


def _hash_files(folder: Path, patterns: tuple[str, ...], memory: DigestMemory) -> dict[str, str]:
    paths = {path for pattern in patterns for path in folder.glob(pattern)}
    return {path.name: memory.file(path) for path in sorted(paths)}


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"
