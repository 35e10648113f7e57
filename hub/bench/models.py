"""Base models of known dimensions with random weights, as transformers folders on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from hub.bases import Base
from hub.errors import SettingsError

_LARGE: Final = MappingProxyType(
    {
        "d_model": 1024, "encoder_layers": 12, "decoder_layers": 12, "encoder_ffn_dim": 4096,
        "decoder_ffn_dim": 4096, "encoder_attention_heads": 16, "decoder_attention_heads": 16,
    }
)  # fmt: skip
DIMENSIONS: Final[Mapping[str, Mapping[str, int]]] = MappingProxyType(
    {
        "m2m100-418m": MappingProxyType({**_LARGE, "vocab_size": 128112}),
        "nllb-600m": MappingProxyType({**_LARGE, "vocab_size": 256206}),
        "small": MappingProxyType(
            {
                "d_model": 256, "encoder_layers": 4, "decoder_layers": 4, "encoder_ffn_dim": 1024,
                "decoder_ffn_dim": 1024, "encoder_attention_heads": 4,
                "decoder_attention_heads": 4, "vocab_size": 8192,
            }
        ),
    }
)  # fmt: skip
LEAST_VOCABULARY: Final = 8000
"""Sources are drawn from tokens below this, which every vocabulary here has."""
_COMMON: Final = MappingProxyType(
    {
        "model_type": "m2m_100",
        "architectures": ["M2M100ForConditionalGeneration"],
        "activation_function": "relu",
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
        "max_position_embeddings": 1024,
        "scale_embedding": True,
        "tie_word_embeddings": True,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
    }
)
_DEVIATION: Final = 0.03


def model_config(dims: str) -> dict[str, Any]:
    """Return the config.json of a model.

    Raises:
        SettingsError: The dimensions are unknown.
    """
    if dims not in DIMENSIONS:
        raise SettingsError(f"--dims {dims!r} is not known; choose one of {', '.join(DIMENSIONS)}")
    return {**_COMMON, **DIMENSIONS[dims]}


def random_base(dims: str, folder: Path) -> Base:
    """Write a base of random float16 weights, unless the folder holds it already.

    Raises:
        SettingsError: The dimensions are unknown.
    """
    config = model_config(dims)
    target = folder / f"base-{dims}"
    if not (target / "config.json").is_file():
        target.mkdir(parents=True, exist_ok=True)
        save_file(dict(_tensors(config)), target / "model.safetensors")
        (target / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return Base(name=f"random {dims}", folder=target)


def _tensors(config: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return (torch.randn(*shape, generator=generator) * _DEVIATION).half()

    d = config["d_model"]
    yield "model.shared.weight", random(config["vocab_size"], d)
    for stack in ("encoder", "decoder"):
        for layer in range(config[f"{stack}_layers"]):
            for name, out, width in _linears(stack, d, config[f"{stack}_ffn_dim"]):
                path = f"model.{stack}.layers.{layer}.{name}"
                yield f"{path}.weight", random(out, width)
                yield f"{path}.bias", random(out)
            for name in _norms(stack):
                path = f"model.{stack}.layers.{layer}.{name}"
                yield f"{path}.weight", torch.ones(d).half()
                yield f"{path}.bias", random(d)
        yield f"model.{stack}.layer_norm.weight", torch.ones(d).half()
        yield f"model.{stack}.layer_norm.bias", random(d)


def _linears(stack: str, d: int, ffn: int) -> Iterator[tuple[str, int, int]]:
    attentions = ("self_attn", "encoder_attn") if stack == "decoder" else ("self_attn",)
    for attention in attentions:
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield f"{attention}.{projection}", d, d
    yield "fc1", ffn, d
    yield "fc2", d, ffn


def _norms(stack: str) -> tuple[str, ...]:
    names = ("self_attn_layer_norm", "final_layer_norm")
    return (*names, "encoder_attn_layer_norm") if stack == "decoder" else names
