"""Counts of every family against transformers' models, instantiated without memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hub.bases import open_base
from hub.budget import count, solve
from hub.dimensions import ModelDimensions
from hub.errors import BaseNotFoundError, BudgetError

BART = {
    "d_model": 96, "encoder_layers": 3, "decoder_layers": 2, "encoder_ffn_dim": 160,
    "decoder_ffn_dim": 128, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "vocab_size": 300, "max_position_embeddings": 50, "pad_token_id": 1,
}  # fmt: skip
T5 = {
    "d_model": 96, "d_kv": 20, "d_ff": 160, "num_layers": 3, "num_decoder_layers": 2,
    "num_heads": 4, "vocab_size": 300, "relative_attention_num_buckets": 12,
}  # fmt: skip
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "m2m_100": ("M2M100ForConditionalGeneration", BART),
    "mbart": ("MBartForConditionalGeneration", BART),
    "bart": ("BartForConditionalGeneration", BART),
    "marian": ("MarianMTModel", BART | {"decoder_start_token_id": 1}),
    "t5": ("T5ForConditionalGeneration", T5),
    "t5 gated": ("T5ForConditionalGeneration", T5 | {"feed_forward_proj": "gated-gelu"}),
    "mt5": ("MT5ForConditionalGeneration", T5),
    "t5-base": ("T5ForConditionalGeneration", {"d_model": 768, "d_ff": 3072, "num_layers": 12,
                                               "num_heads": 12}),
    "mt5-small": ("MT5ForConditionalGeneration", {}),
    "bart-large": ("BartForConditionalGeneration", {}),
    "opus-mt": ("MarianMTModel", {"d_model": 512, "encoder_layers": 6, "decoder_layers": 6,
                                  "encoder_ffn_dim": 2048, "decoder_ffn_dim": 2048}),
}  # fmt: skip


def on_meta(name: str) -> Any:
    import transformers

    model_class = getattr(transformers, MODELS[name][0])
    with torch.device("meta"):
        return model_class(model_class.config_class(**MODELS[name][1]))


def trained(model: Any) -> dict[str, torch.nn.Parameter]:
    """Unique parameters; Marian's sinusoids are frozen, computed and never saved."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad or "embed_positions" not in name
    }


def total(parameters: dict[str, torch.nn.Parameter], *words: str) -> int:
    return sum(
        one.numel() for name, one in parameters.items() if all(word in name for word in words)
    )


@pytest.mark.parametrize("name", MODELS)
def test_counts_equal_the_instantiated_model(name: str) -> None:
    model = on_meta(name)
    dims = ModelDimensions.from_config(model.config.to_dict())
    parameters = trained(model)
    assert dims.parameters == total(parameters)

    modules = dict(model.named_modules())
    norms = {path for path, one in modules.items() if type(one).__name__.endswith("LayerNorm")}
    assert dims.norms == len(norms)
    assert count("norms", 0, dims, "both") == sum(
        one.numel() for path in norms for one in modules[path].parameters()
    )
    cross = [n for n in parameters if "encoder_attn" in n or "EncDecAttention" in n]
    cross += [n for n in parameters if "decoder.block" in n and ".layer.1.layer_norm" in n]
    assert count("cross-attention", 0, dims) == sum(parameters[n].numel() for n in cross)
    linears = [m for path, m in modules.items() if type(m) is torch.nn.Linear and path != "lm_head"]
    by_rank = sum(m.in_features + m.out_features for m in linears)
    assert count("lora", 3, dims, "all-linear") == 3 * by_rank
    biases = total(parameters, "bias") - total(parameters, "relative_attention_bias")
    if biases:
        assert count("bitfit", 0, dims) == biases
        return
    with pytest.raises(BudgetError, match="bitfit trains biases and this base has none"):
        solve("bitfit", 0.01, dims)


def test_attention_of_another_width() -> None:
    """By hand: 7 attentions, keys and values of 4 heads of 20, and inputs of 160 in 5 layers."""
    dims = ModelDimensions.from_config({"model_type": "t5", **T5})
    assert count("ia3", 0, dims) == 7 * 2 * 80 + 5 * 160
    assert count("lora", 1, dims, "qv") == 7 * 2 * (96 + 80)
    assert count("prefix", 5, dims, "decoder") == 5 * 2 * 80 * 2
    assert count("bottleneck", 4, dims, "layer") == 5 * (2 * 96 * 4 + 4 + 96 + 2 * 96)
    with pytest.raises(BudgetError, match="between 1 and 80"):
        count("lora", 81, dims)


def test_an_output_table_of_its_own_counts(tmp_path: Path) -> None:
    """Whatever the config says: transformers 5 writes that the tables are tied."""
    from safetensors.torch import load_file, save_file
    from transformers import T5Config, T5ForConditionalGeneration

    T5ForConditionalGeneration(T5Config(**T5)).save_pretrained(tmp_path)
    tied = open_base(str(tmp_path)).parameters
    tensors = load_file(tmp_path / "model.safetensors")
    assert tied == sum(one.numel() for one in tensors.values())
    save_file(tensors | {"lm_head.weight": torch.ones(300, 96)}, tmp_path / "model.safetensors")
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is True
    assert open_base(str(tmp_path)).parameters == tied + 300 * 96
    plain = {"model_type": "t5", **T5}
    untied = ModelDimensions.from_config(plain | {"tie_word_embeddings": False}).parameters
    assert untied == tied + 300 * 96


def test_other_families_are_refused_with_those_known() -> None:
    with pytest.raises(BaseNotFoundError, match="'umt5'; known are bart, m2m_100, marian"):
        ModelDimensions.from_config({"model_type": "umt5"})
