"""The catalog: what is counted is what PEFT instantiates, and options are checked."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import M2M100Config, M2M100ForConditionalGeneration

from hub.budget import ModelDimensions, count, solve
from hub.errors import BudgetError, SettingsError
from training.loop.model import attach_config, count_trainable, quiet_libraries
from training.methods.catalog import METHODS, method
from training.methods.targets import module_names

Options = Mapping[str, str | bool]
VARIANTS: tuple[tuple[str, Options], ...] = (
    ("bottleneck", {}),
    ("bottleneck", {"norm": False, "activation": "gelu"}),
    ("bottleneck", {"placement": "sublayer"}),
    ("bottleneck", {"placement": "sublayer", "norm": False}),
    ("lora", {"targets": "qv"}),
    ("lora", {"targets": "attention"}),
    ("lora", {"targets": "all-linear"}),
    ("prefix", {}),
    ("prefix", {"attentions": "decoder"}),
    ("bitfit", {}),
    ("norms", {}),
    ("norms", {"norm_train": "both"}),
    ("ia3", {}),
    ("cross-attention", {}),
)
NLLB_600M = {"vocab_size": 256_206, "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096}
M2M_418M = {"vocab_size": 128_112, "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096}


def on_meta(**dims: int) -> M2M100ForConditionalGeneration:
    """A model with shapes and no memory."""
    with torch.device("meta"):
        return M2M100ForConditionalGeneration(M2M100Config(**dims))


def instantiated(name: str, size: int, options: Options, dims: Mapping[str, int]) -> int:
    with quiet_libraries():
        config = METHODS[name].build(size, options, "m2m_100")
        return count_trainable(attach_config(on_meta(**dims), config, seed=0))


@settings(max_examples=8)
@given(
    heads=st.integers(1, 3),
    width=st.integers(2, 8),
    encoder=st.integers(1, 3),
    decoder=st.integers(1, 3),
    ffn=st.tuples(st.integers(4, 20), st.integers(4, 20)),
    size=st.integers(1, 4),
    variant=st.sampled_from(VARIANTS),
)
def test_count_is_what_peft_instantiates(
    heads: int,
    width: int,
    encoder: int,
    decoder: int,
    ffn: tuple[int, int],
    size: int,
    variant: tuple[str, Options],
) -> None:
    name, options = variant
    dims = {
        "d_model": heads * width * 2,
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "encoder_layers": encoder,
        "decoder_layers": decoder,
        "encoder_ffn_dim": ffn[0],
        "decoder_ffn_dim": ffn[1],
        "vocab_size": 30,
    }
    counted = _dimensions(dims)
    spec = method(name)
    size = size if spec.size_name else 0
    solution = spec.solve(counted, spec.complete(options), budget=None, size=size)
    assert instantiated(name, solution.size, options, dims) == solution.trainable_parameters


def _dimensions(dims: Mapping[str, int]) -> ModelDimensions:
    return ModelDimensions.from_config(M2M100Config(**dims).to_dict())


@pytest.mark.parametrize(("large", "sizes"), [(NLLB_600M, (123, 41)), (M2M_418M, (96, 32))])
def test_one_percent_of_the_real_ones(large: dict[str, int], sizes: tuple[int, int]) -> None:
    dims = {"d_model": 1024, "encoder_layers": 12, "decoder_layers": 12} | large
    counted = _dimensions(dims)
    for name, size in zip(("bottleneck", "lora"), sizes, strict=True):
        solution = solve(name, 0.01, counted)
        assert solution.size == size
        realised = instantiated(name, size, {}, dims)
        assert realised == solution.trainable_parameters <= 0.01 * counted.parameters
        assert count(name, size + 1, counted) > 0.01 * counted.parameters


def test_lora_never_touches_embeddings_or_the_tied_projection() -> None:
    with quiet_libraries():
        model = attach_config(
            on_meta(d_model=8, encoder_attention_heads=2, decoder_attention_heads=2),
            METHODS["lora"].build(2, {"targets": "all-linear"}, "m2m_100"),
            seed=0,
        )
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    assert names
    assert not [name for name in names if "lm_head" in name or "embed" in name]
    touched = {name.split(".lora_")[0].rsplit(".", 1)[1] for name in names}
    assert touched == set(module_names("m2m_100").linears("all-linear"))
    assert any("encoder_attn" in name for name in names)


def test_lora_alpha_grows_with_rank() -> None:
    for rank in (1, 8, 33):
        config = METHODS["lora"].build(rank, {}, "m2m_100")
        assert (config.r, config.lora_alpha, config.lora_dropout) == (rank, 2 * rank, 0.05)
    root = METHODS["lora"].build(16, {"rslora": True}, "m2m_100")
    assert root.use_rslora
    assert root.lora_alpha / root.r**0.5 == 2  # what plain LoRA's scale is at this rank


def test_unknown_method_option_and_value() -> None:
    with pytest.raises(SettingsError, match="unknown method 'prompt'; known are bottleneck, lora"):
        method("prompt")
    with pytest.raises(SettingsError, match="no option --targets"):
        method("bottleneck").complete({"targets": "qv"})
    with pytest.raises(SettingsError, match="qv, attention, all-linear"):
        method("lora").complete({"targets": "everything"})


@pytest.mark.parametrize(("budget", "size"), [(None, None), (0.1, 4)])
def test_either_a_budget_or_a_size(budget: float | None, size: int | None) -> None:
    dims = _dimensions({"d_model": 16})
    spec = method("bottleneck")
    with pytest.raises(BudgetError, match="either --budget or --width"):
        spec.solve(dims, spec.options, budget=budget, size=size)
