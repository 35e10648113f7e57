"""A base model on disk: an ordinary transformers folder with an identity."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from hub.budget import ModelDimensions
from hub.errors import BaseNotFoundError, CorruptBaseError

EMBEDDED = "embedded"
"""The ref of the base that ships with the package."""

_IDENTITY_PATTERNS = (
    "config.json",
    "*.safetensors",
    "vocab.json",
    "tokenizer.json",
    "*.model",
    "*.spm",
)
_DECODING_RULES = (
    "forced_eos_token_id",
    "bad_words_ids",
    "no_repeat_ngram_size",
    "repetition_penalty",
)
_LONGEST_HEADER = 100_000_000  # the format's own limit
_OUTPUT_TABLE = "lm_head.weight"
_WEIGHTS_MISSING = "has no *.safetensors weights"


@dataclass(frozen=True)
class Base:
    """One base model, opened.

    Attributes:
        name: What the user typed, or `embedded`.
        folder: Where config.json, the weights and the tokenizer's files lie.
    """

    name: str
    folder: Path

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The model's config.json.

        Raises:
            CorruptBaseError: It is not JSON.
        """
        return _read_json(self.folder / "config.json")

    @cached_property
    def decoding_config(self) -> Mapping[str, Any]:
        """The config with what generation_config.json says about decoding over it.

        As in transformers, that file alone decides where it is present; where it is not, older
        checkpoints have the same keys in config.json. Beam widths and lengths are the requests'.

        Raises:
            CorruptBaseError: A file is not JSON.
        """
        path = self.folder / "generation_config.json"
        if not path.is_file():
            return self.config
        generation = _read_json(path)
        kept = {key: value for key, value in self.config.items() if key not in _DECODING_RULES}
        keys = (*_DECODING_RULES, "eos_token_id", "decoder_start_token_id")
        return kept | {key: generation[key] for key in keys if generation.get(key) is not None}

    @cached_property
    def dimensions(self) -> ModelDimensions:
        """Sizes of the model, from config.json; of T5's tables, from the names in the weights.

        Raises:
            BaseNotFoundError: The family is unknown or a dimension is missing.
        """
        if self.family not in ("t5", "mt5"):
            return ModelDimensions.from_config(self.config)
        # transformers 5 writes tie_word_embeddings=true whether the output has its own table or
        # not; it writes that table only if it has.
        tied = _OUTPUT_TABLE not in _tensor_names(self.folder)
        return ModelDimensions.from_config({**self.config, "tie_word_embeddings": tied})

    @property
    def family(self) -> str:
        """The `model_type` of transformers, for example `m2m_100`."""
        return str(self.config.get("model_type", ""))

    @property
    def parameters(self) -> int:
        """Unique parameters of the unquantized model: what budgets are fractions of."""
        return self.dimensions.parameters

    @cached_property
    def record(self) -> Mapping[str, Any]:
        """How `hub bases build` made this base, and its scores; empty for bases from elsewhere."""
        path = self.folder / "base.json"
        return _read_json(path) if path.is_file() else {}

    @cached_property
    def licence(self) -> str:
        """As the folder states it, in base.json or in a model card; "" where it does not."""
        stated = str(self.record.get("licence", ""))
        return stated or _licence_of_card(self.folder / "README.md")

    @cached_property
    def digest(self) -> str:
        """`sha256:…` of the config, the weights and the tokenizer, by content.

        Raises:
            CorruptBaseError: The built base's record names other weights than are there.
        """
        files = {path.name: _file_sha256(path) for path in _identity_files(self.folder)}
        expected = self.record.get("files", {})
        for name, digest in expected.items():
            if files.get(name) != digest:
                raise CorruptBaseError(
                    f"base {self.name!r}: {name} has sha256 {files.get(name)}, but base.json "
                    f"records {digest}; restore the file or rebuild with `hub bases build`"
                )
        canonical = json.dumps(files, sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def open_base(ref: str = EMBEDDED) -> Base:
    """Find a base model by ref: `embedded`, a local folder, or a Hugging Face id.

    Raises:
        BaseNotFoundError: There is no such folder, and the id cannot be had.
        CorruptBaseError: The folder lacks weights.
    """
    folder = _embedded_folder() if ref == EMBEDDED else _find_folder(ref)
    if not (folder / "config.json").is_file():
        raise BaseNotFoundError(
            f"base {ref!r}: no config.json in {folder}; give a transformers folder", field="base"
        )
    if not any(folder.glob("*.safetensors")):
        raise CorruptBaseError(
            f"base {ref!r}: {folder} {_WEIGHTS_MISSING}; convert them with transformers' "
            "save_pretrained",
            field="base",
        )
    return Base(name=ref, folder=folder)


def _licence_of_card(card: Path) -> str:
    """Return `license:` of a model card's front matter."""
    try:
        lines = card.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return ""
    if not lines or lines[0].strip() != "---":
        return ""
    front = itertools.takewhile(lambda line: line.strip() != "---", lines[1:])
    stated = (line.partition(":")[2].strip() for line in front if line.startswith("license:"))
    return next(stated, "").strip("\"'")


def _embedded_folder() -> Path:
    return Path(__file__).parent / "embedded"


def _find_folder(ref: str) -> Path:
    folder = Path(ref).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if ref.count("/") == 1 and not ref.startswith((".", "/", "~")):
        return _download(ref)
    raise BaseNotFoundError(
        f"base {ref!r} is neither {EMBEDDED!r}, a folder, nor a Hugging Face id (owner/name)",
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


def _tensor_names(folder: Path) -> frozenset[str]:
    """Return the names in the headers of a folder's safetensors files."""
    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        try:
            with path.open("rb") as stream:
                length = int.from_bytes(stream.read(8), "little")
                if length > _LONGEST_HEADER:
                    raise ValueError(f"a header of {length} bytes")
                names |= json.loads(stream.read(length)).keys()
        except (OSError, ValueError, AttributeError) as error:
            raise CorruptBaseError(f"{path} cannot be read as safetensors: {error}") from error
    return frozenset(names - {"__metadata__"})


def _identity_files(folder: Path) -> list[Path]:
    return sorted({path for pattern in _IDENTITY_PATTERNS for path in folder.glob(pattern)})


def _file_sha256(path: Path) -> str:
    stat = path.stat()
    return _hash_unchanged_file(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _hash_unchanged_file(path: Path, size: int, modified_ns: int) -> str:
    """Hash a file once for as long as its size and time stay the same."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptBaseError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise CorruptBaseError(f"{path} holds {type(content).__name__}, expected a JSON object")
    return content
