"""A base model on disk: an ordinary transformers folder with an identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.bases.digest import check_recorded, content_digest, former_digest
from hub.bases.files import RECORD, read_json
from hub.bases.headers import WIDTHS, TensorPlace, read_headers
from hub.bases.licence import licence_of
from hub.bases.memory import DigestMemory
from hub.bases.values import read_values
from hub.bases.weights import WeightFiles, find_weights
from hub.budget import ModelDimensions
from hub.errors import CorruptBaseError
from hub.settings import load_settings

if TYPE_CHECKING:
    from torch import Tensor

    from hub.engine.architecture import Architecture

EMBEDDED = "embedded"
"""The ref of the base that ships with the package."""

_DECODING_RULES = (
    "forced_eos_token_id",
    "bad_words_ids",
    "no_repeat_ngram_size",
    "repetition_penalty",
    "num_beams",
    "length_penalty",
    "early_stopping",
    "max_length",
    "max_new_tokens",
)


@dataclass(frozen=True)
class Base:
    """One base model, opened.

    Attributes:
        name: What the user typed, or `embedded`.
        folder: Where config.json, the safetensors weights and the tokenizer's files lie.
        origin: The folder that `folder` was converted from, where it was.
        commit: The commit of the Hugging Face Hub that it was fetched at, "" for a folder.
        cache: Folder of the hub's caches; the setting's if not given.
    """

    name: str
    folder: Path
    origin: Path | None = None
    commit: str = ""
    cache: Path | None = None

    @property
    def label(self) -> str:
        """The name without this machine's folders in it."""
        is_folder = Path(self.name).expanduser().is_dir()
        return (self.origin or self.folder).name if is_folder else self.name

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The model's config.json.

        Raises:
            CorruptBaseError: It is not JSON.
        """
        return read_json(self.folder / "config.json")

    @cached_property
    def decoding_config(self) -> Mapping[str, Any]:
        """The config with what generation_config.json says about decoding over it.

        As in transformers, that file alone decides where it is present; where it is not, older
        checkpoints have the same keys in config.json.

        Raises:
            CorruptBaseError: A file is not JSON.
        """
        path = self.folder / "generation_config.json"
        if not path.is_file():
            return self.config
        generation = read_json(path)
        kept = {key: value for key, value in self.config.items() if key not in _DECODING_RULES}
        keys = (*_DECODING_RULES, "eos_token_id", "decoder_start_token_id")
        return kept | {key: generation[key] for key in keys if generation.get(key) is not None}

    @cached_property
    def weights(self) -> WeightFiles:
        """The files of the weights.

        Raises:
            CorruptBaseError: There are none, or an index does not fit them.
        """
        return find_weights(self.folder)

    @cached_property
    def stored(self) -> Mapping[str, TensorPlace]:
        """Every tensor in the files by the name that it has there.

        Raises:
            CorruptBaseError: A header is damaged.
        """
        return read_headers(self.weights)

    @cached_property
    def tensors(self) -> Mapping[str, TensorPlace]:
        """The tensors that make up the model, ties once, under their canonical names.

        Raises:
            BaseNotFoundError: The family is not served.
            CorruptBaseError: A file is damaged, or tensors differ that must be one.
        """
        from hub.engine.families import canonical_names, find_family

        family = find_family(self.config)
        try:
            names = canonical_names(
                family,
                family.architecture(self.decoding_config),
                self.stored.keys(),
                self._read,
                untied=self.config.get("tie_word_embeddings") is False,
            )
        except CorruptBaseError as error:
            raise CorruptBaseError(f"base {self.name!r}: {error.message}", field="base") from error
        found = {name: self.stored[names[name]] for name in sorted(names)}
        for name, place in found.items():
            if place.dtype not in WIDTHS:
                raise CorruptBaseError(
                    f"base {self.name!r}: tensor {name!r} is {place.dtype}; a base's weights are "
                    f"one of {', '.join(WIDTHS)}",
                    field="base",
                )
        return found

    @cached_property
    def architecture(self) -> Architecture:
        """The shape of the network, with an output of its own only where one is stored.

        Raises:
            BaseNotFoundError: The family or an option is not served.
            CorruptBaseError: A number of the config is not one.
        """
        from hub.engine.families import find_family

        found = find_family(self.config).architecture(self.decoding_config)
        return replace(found, tied_output=not self.has_own_output)

    @cached_property
    def has_own_output(self) -> bool:
        """Whether the output is a table apart from the token table, whatever the config says.

        transformers 5 writes tie_word_embeddings=true whether the output has its own table or
        not, and ties nothing that differs.
        """
        from hub.engine.families import find_family

        output = find_family(self.config).output
        return output in self.stored and output in self.tensors

    @cached_property
    def dimensions(self) -> ModelDimensions:
        """Sizes of the model, from config.json; whether the output is tied, from the weights.

        Raises:
            BaseNotFoundError: The family is unknown or a dimension is missing.
        """
        if self.family in ("t5", "mt5"):
            tied = not self.has_own_output
            return ModelDimensions.from_config({**self.config, "tie_word_embeddings": tied})
        found = ModelDimensions.from_config(self.config)
        if not self.has_own_output:
            return found
        table = found.vocab_size * found.d_model
        return replace(found, parameters=found.parameters + table)

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
        path = self.folder / RECORD
        return read_json(path) if path.is_file() else {}

    @cached_property
    def licence(self) -> str:
        """As the folder or the name states it; "" where nothing does."""
        return licence_of(self.name, self.folder, self.record, self.config)

    @cached_property
    def digest(self) -> str:
        """`sha256:…` of the network, its weights and the tokenizer, by content.

        Raises:
            BaseNotFoundError: The family is not served.
            CorruptBaseError: The built base's record names other weights than are there.
        """
        memory = self._memory
        check_recorded(self.name, self.folder, self.record.get("files", {}), memory)
        return content_digest(self.folder, self.architecture, self.tensors, memory)

    @cached_property
    def former_digest(self) -> str:
        """What releases up to 0.1 called this folder; reads every file of it."""
        return former_digest(self.folder, self._memory)

    def answers_to(self, digest: str) -> bool:
        """Return whether a digest in a manifest means this base, as of any release."""
        return digest == self.digest or digest == self.former_digest

    @property
    def _memory(self) -> DigestMemory:
        return DigestMemory(load_settings().cache if self.cache is None else self.cache)

    def _read(self, name: str) -> Tensor:
        return read_values(self.stored[name])
