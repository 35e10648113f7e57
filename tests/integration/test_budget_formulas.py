"""The formulas of fixed-size methods equal what transformers instantiates (meta device)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hub.budget import ModelDimensions, minimum

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {
    "d_model": 16,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 24,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 20,
}
FAMILIES = {
    "m2m_100": ("M2M100Config", "M2M100ForConditionalGeneration"),
    "mbart": ("MBartConfig", "MBartForConditionalGeneration"),
}
# What each method trains, as names of parameters.
TRAINED = {
    "bitfit": r"\.bias$",
    "norms": r"norm(_embedding)?\.(weight|bias)$",
    "cross-attention": r"encoder_attn(_layer_norm)?\.",
}


def build(family: str, *, tied: bool = True) -> tuple[dict[str, int], ModelDimensions]:
    """Return the unique parameters' sizes by name, and our dimensions."""
    config_class, model_class = FAMILIES[family]
    config: Any = getattr(transformers, config_class)(**SIZES, tie_word_embeddings=tied)
    with torch.device("meta"):
        model = getattr(transformers, model_class)(config)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return sizes, ModelDimensions.from_config(config.to_dict())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_unique_parameters(family: str, tied: bool) -> None:
    sizes, dims = build(family, tied=tied)
    assert dims.parameters == sum(sizes.values())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", TRAINED)
def test_fixed_methods(family: str, method: str) -> None:
    sizes, dims = build(family)
    trained = {name: size for name, size in sizes.items() if re.search(TRAINED[method], name)}
    assert 0 < len(trained) < len(sizes)
    variant = "both" if method == "norms" else ""
    assert minimum(method, dims, variant) == sum(trained.values())
