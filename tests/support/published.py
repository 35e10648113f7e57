"""Tiny checkpoints in the forms that are really published, made with transformers and torch.

Keys, copies and dtypes follow what the Hub holds: `save_pretrained` of today writes none of these.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hub.engine.testing import random_model

FAMILIES = ("m2m_100", "mbart", "bart", "marian", "t5", "t5_gated", "mt5")
_TABLE = "model.shared.weight"


def published_model(family: str, seed: int = 0, **config: Any) -> Any:
    """A model with the activation and sizes of its family's tiny recipe."""
    return random_model(family, seed, config)


def published_state(model: Any, family: str) -> dict[str, Tensor]:
    """The state dict as the family's `pytorch_model.bin` on the Hub has it: ties repeated, and
    tensors that no code reads any more beside the others."""
    state: dict[str, Tensor] = dict(model.state_dict())
    if family in ("t5", "t5_gated", "mt5"):
        bias = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
        heads = model.config.num_heads
        state[bias] = torch.randn(model.config.relative_attention_num_buckets, heads)
        state["encoder.embed_tokens.weight"] = state["shared.weight"]
        state["decoder.embed_tokens.weight"] = state["shared.weight"]
        return state
    for name in ("lm_head", "model.encoder.embed_tokens", "model.decoder.embed_tokens"):
        state[f"{name}.weight"] = state[_TABLE]
    if family == "m2m_100":
        for stack in ("encoder", "decoder"):
            positions = model.get_submodule(f"model.{stack}.embed_positions")
            state[f"model.{stack}.embed_positions.weights"] = positions.weights
            state[f"model.{stack}.embed_positions._float_tensor"] = torch.zeros(1)
    return state


def write_bin(
    folder: Path,
    model: Any,
    state: Mapping[str, Tensor],
    *,
    shards: int = 1,
    legacy: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write config.json and the weights as `pytorch_model.bin`, whole or in shards.

    Args:
        folder: Made if it is not there.
        model: For its config.
        state: What is pickled.
        shards: With an index from two on.
        legacy: In torch's format before 1.6, which is no zip archive.
        config: Keys over those of the model's config; None takes one away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    edit_config(folder, {"transformers_version": "4.12.3", **(config or {})})
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.save_pretrained(folder)
    names = list(state)
    options: dict[str, Any] = {"_use_new_zipfile_serialization": not legacy}
    if shards == 1:
        torch.save(OrderedDict(state), folder / "pytorch_model.bin", **options)
        return folder
    weight_map = {name: _shard(at % shards, shards) for at, name in enumerate(names)}
    for file in set(weight_map.values()):
        part = {name: state[name].clone() for name in names if weight_map[name] == file}
        torch.save(part, folder / file, **options)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def edit_config(folder: Path, changes: Mapping[str, Any]) -> None:
    """Set keys of config.json, or take them away where the value is None."""
    path = folder / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content |= changes
    kept = {key: value for key, value in content.items() if value is not None or key not in changes}
    path.write_text(json.dumps(kept, indent=2), encoding="utf-8")


def _shard(number: int, count: int) -> str:
    return f"pytorch_model-{number + 1:05}-of-{count:05}.bin"
