"""Random adapters of an exact budget, as PEFT folders on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from hub.budget import Solution, solve
from hub.dimensions import ModelDimensions
from hub.errors import SettingsError

_DEVIATION: Final = 0.05
Draw = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class Kind:
    """How adapters of one kind look on disk, in the method's default variant.

    Attributes:
        config: Size → adapter_config.json.
        tensors: Dimensions, size and a source of random tensors → named tensors.
    """

    config: Callable[[int], dict[str, Any]]
    tensors: Callable[[ModelDimensions, int, Draw], Iterator[tuple[str, Tensor]]]


def _bottleneck_config(width: int) -> dict[str, Any]:
    return {
        "peft_type": "BOTTLENECK", "task_type": "SEQ_2_SEQ_LM", "width": width,
        "activation": "relu", "norm": True, "placement": "layer",
        "target_modules": r".*\.(encoder|decoder)\.layers\.\d+",
        "base_model_name_or_path": "random",
    }  # fmt: skip


def _bottleneck(dims: ModelDimensions, width: int, draw: Draw) -> Iterator[tuple[str, Tensor]]:
    d = dims.d_model
    for path in _layers(dims):
        yield f"{path}.bottleneck_norm.weight", 1 + draw(d)
        yield f"{path}.bottleneck_norm.bias", draw(d)
        yield f"{path}.bottleneck_down.weight", draw(width, d)
        yield f"{path}.bottleneck_down.bias", draw(width)
        yield f"{path}.bottleneck_up.weight", draw(d, width)
        yield f"{path}.bottleneck_up.bias", draw(d)


def _lora_config(rank: int) -> dict[str, Any]:
    return {
        "peft_type": "LORA", "task_type": "SEQ_2_SEQ_LM", "r": rank, "lora_alpha": rank,
        "target_modules": ["q_proj", "v_proj"], "bias": "none",
        "base_model_name_or_path": "random",
    }  # fmt: skip


def _lora(dims: ModelDimensions, rank: int, draw: Draw) -> Iterator[tuple[str, Tensor]]:
    for path in _layers(dims):
        attentions = ("self_attn", "encoder_attn") if "decoder" in path else ("self_attn",)
        for module in (f"{a}.{p}" for a in attentions for p in ("q_proj", "v_proj")):
            yield f"{path}.{module}.lora_A.weight", draw(rank, dims.d_model)
            yield f"{path}.{module}.lora_B.weight", draw(dims.d_model, rank)


def _layers(dims: ModelDimensions) -> Iterator[str]:
    for stack, layers in (("encoder", dims.encoder_layers), ("decoder", dims.decoder_layers)):
        for layer in range(layers):
            yield f"base_model.model.model.{stack}.layers.{layer}"


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "bottleneck": Kind(_bottleneck_config, _bottleneck),
        "lora": Kind(_lora_config, _lora),
    }
)


@dataclass(frozen=True, slots=True)
class RandomAdapter:
    """One adapter folder, and what the budget bought."""

    kind: str
    folder: Path
    solution: Solution


def random_adapter(
    kind: str, budget: float, dims: ModelDimensions, folder: Path, seed: int
) -> RandomAdapter:
    """Write the largest adapter within a budget, in float32.

    Raises:
        SettingsError: The kind is not known here.
        BudgetError: The budget buys nothing.
    """
    if kind not in KINDS:
        raise SettingsError(f"--kinds {kind!r} is not known; choose among {', '.join(KINDS)}")
    solution = solve(kind, budget, dims)
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * _DEVIATION

    target = folder / f"{kind}-{solution.size}-{seed}"
    target.mkdir(parents=True, exist_ok=True)
    tensors = dict(KINDS[kind].tensors(dims, solution.size, draw))
    save_file(tensors, target / "adapter_model.safetensors")
    config = KINDS[kind].config(solution.size)
    (target / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return RandomAdapter(kind, target, solution)
