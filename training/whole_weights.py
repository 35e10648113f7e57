"""What no slot can hold: a whole base, fine-tuned or merged, as a folder that opens as a base.

A base folder is an ordinary transformers folder: config, weights in float32, tokenizer. It is made
from files and tensors by name, without a model, so that it can be written while one is training.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.bases import open_base
from hub.bases.files import RECORD
from hub.bases.files import side_files as base_files
from hub.errors import AdapterBindingError
from training.evidence.decode import ADAPTER_SLOT, BASE_SLOT, Decoder, Quantization
from training.loop.model import WEIGHTS_FILE

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hub.bases import Base
    from hub.bases.tokenizer import BaseTokenizer
    from hub.engine.engine import Engine
    from hub.engine.requests import DecodeRequest, Hypothesis
    from hub.manifest import AdapterManifest
    from training.recipe import Recipe

BASE_WEIGHTS: Final = "model.safetensors"
_COPIED: Final = frozenset({".json", ".model", ".spm", ".txt"})
_PEFT_PREFIX: Final = "base_model.model."
# What a tensor of an adapter is added to, by the end of its name.
_ADDED_TO: Final[Mapping[str, str]] = {
    "bitfit_bias": "bias",
    "norm_weight": "weight",
    "norm_bias": "bias",
    "cross_weight": "weight",
    "cross_bias": "bias",
}


class WholeDecoder(Decoder):
    """Decodes the adapter's rows with a base of their own, the base's rows with the base."""

    def __init__(
        self,
        base: Base,
        tokenizer: BaseTokenizer,
        quantization: Quantization,
        as_base: Callable[[Path], Path],
    ) -> None:
        """Load the engine of the base that training starts from.

        Args:
            base: That base.
            tokenizer: Of both.
            quantization: The engines' numbers.
            as_base: Returns the base folder that a saved folder stands for.
        """
        super().__init__(base, tokenizer, quantization)
        self._as_base = as_base
        self._own: Engine | None = None

    def place(self, folder: Path, manifest: AdapterManifest | None = None) -> None:
        """Load the base that a saved folder stands for, in place of the one before.

        Raises:
            CorruptBaseError: It cannot be loaded.
        """
        self._own = None
        own = open_base(str(self._as_base(folder)))
        self._own = self.load_engine(own)

    def best(self, requests: Sequence[DecodeRequest]) -> list[Hypothesis]:
        """Return the best hypothesis of each request, in the order of the requests.

        Raises:
            EngineError: An engine failed on a row.
        """
        assert self._own is not None, "a base is placed before it is asked to decode"
        own = [replace(each, slot=BASE_SLOT) for each in requests if each.slot == ADAPTER_SLOT]
        plain = [each for each in requests if each.slot == BASE_SLOT]
        found = self.answers(self._own, own) | self.answers(self._engine, plain)
        return [found[request.key] for request in requests]


def unfreeze(model: nn.Module) -> nn.Module:
    """Make every parameter of a base trainable, tied weights once."""
    model.requires_grad_(True)
    return model


def tuned_files(model: nn.Module, base: Base, recipe: Recipe) -> dict[str, bytes]:
    """Return the files of a fine-tuned base, equal bytes for equal weights."""
    from safetensors.torch import save

    weights = save(dict(sorted(_unique(model).items())), metadata={"format": "pt"})
    return {**side_files(base, recipe), BASE_WEIGHTS: weights}


def merged_files(base: Base, adapter: Path, recipe: Recipe) -> dict[str, bytes]:
    """Return the files of a base with an adapter's changes added to its weights.

    Raises:
        AdapterBindingError: A tensor is no change of one of the base's tensors.
    """
    from safetensors.torch import load_file, save

    tensors = _base_tensors(base)
    for name, change in load_file(adapter / WEIGHTS_FILE).items():
        target = _target(name)
        if target not in tensors or tensors[target].shape != change.shape:
            raise AdapterBindingError(f"tensor {name!r} is no change of a tensor of the base")
        tensors[target] = tensors[target] + change.float()
    weights = save(dict(sorted(tensors.items())), metadata={"format": "pt"})
    return {**side_files(base, recipe), BASE_WEIGHTS: weights}


def side_files(base: Base, recipe: Recipe) -> dict[str, bytes]:
    """Return everything of a base folder but the weights: config, tokenizer, languages."""
    found = {
        path.name: path.read_bytes()
        for path in base_files(base.folder)
        if path.suffix in _COPIED and path.name != RECORD
    }
    config = {key: value for key, value in base.config.items() if key != "torch_dtype"}
    found["config.json"] = _json({**config, "dtype": "float32"})
    record: dict[str, Any] = {
        "name": recipe.run_name,
        "made_from": {"base": recipe.base, "digest": recipe.base_digest, "recipe": recipe.digest},
    }
    if base.licence:
        record["licence"] = base.licence
    if "languages" in base.record:
        record["languages"] = base.record["languages"]
    found[RECORD] = _json(record)
    return found


def load_tuned(model: nn.Module, folder: Path) -> None:
    """Put a fine-tuned base's weights into a model of the same shape.

    Raises:
        AdapterBindingError: A tensor is missing or unknown.
    """
    from safetensors.torch import load_file

    state = load_file(folder / BASE_WEIGHTS)
    wrong = sorted(state.keys() ^ _unique(model).keys())
    if wrong:
        raise AdapterBindingError(f"tensor {wrong[0]!r} of {folder} does not fit the base")
    model.load_state_dict(state, strict=False)


def _unique(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors to save, tied ones under their first name."""
    seen: dict[int, str] = {}
    for name, tensor in model.state_dict().items():
        seen.setdefault(tensor.data_ptr(), name)
    state = model.state_dict()
    return {name: state[name].detach().cpu().float().contiguous() for name in seen.values()}


def _base_tensors(base: Base) -> dict[str, Tensor]:
    from safetensors import safe_open

    found: dict[str, Tensor] = {}
    for name, place in base.tensors.items():
        with safe_open(place.file, framework="pt") as handle:
            found[name] = handle.get_tensor(place.name).float()
    return found


def _target(name: str) -> str:
    module, _, kind = name.removeprefix(_PEFT_PREFIX).rpartition(".")
    return f"{module}.{_ADDED_TO.get(kind, '')}"


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()
