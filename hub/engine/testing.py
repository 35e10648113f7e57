"""Small random models of every family, for tests to hold the engine against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

VOCABULARY = 120


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How a family's small model is made.

    Attributes:
        model: Name of the class in transformers.
        config: Its settings.
        matrix: Size of random weights with two dimensions.
        finish: Makes outputs that differ from source to source and sometimes end.
    """

    model: str
    config: Mapping[str, Any]
    finish: Callable[[Any], None]
    matrix: float = 0.35


_BART = {
    "vocab_size": VOCABULARY, "d_model": 32, "encoder_layers": 2, "decoder_layers": 3,
    "encoder_attention_heads": 4, "decoder_attention_heads": 2, "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 48, "max_position_embeddings": 96, "pad_token_id": 1,
}  # fmt: skip
_T5 = {
    "vocab_size": VOCABULARY, "d_model": 32, "d_kv": 12, "d_ff": 48, "num_layers": 3,
    "num_heads": 4, "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20, "decoder_start_token_id": 0,
}  # fmt: skip


def random_model(family: str, seed: int, config: Mapping[str, Any]) -> Any:
    """Return a transformers model in float32, with every parameter random.

    Args:
        family: A `model_type`, or "t5_gated" for T5 v1.1 with an output table of its own.
        seed: Of the weights.
        config: Settings in place of the family's.
    """
    import transformers

    recipe = _recipes()[family]
    model_class = getattr(transformers, recipe.model)
    torch.manual_seed(seed)
    model = model_class(model_class.config_class(**{**recipe.config, **config})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed_positions" in name and not parameter.requires_grad:
                continue
            noise = torch.randn_like(parameter)
            if parameter.dim() > 1:
                parameter.copy_(noise * recipe.matrix)
            else:
                parameter.copy_(noise * 0.2 + float("norm" in name and name.endswith("weight")))
        recipe.finish(model)
    return model


def _recipes() -> dict[str, _Recipe]:
    return {
        "m2m_100": _Recipe("M2M100ForConditionalGeneration", _BART, _finish_m2m),
        "mbart": _Recipe(
            "MBartForConditionalGeneration", _BART | {"decoder_start_token_id": 2}, _finish_mbart
        ),
        "bart": _Recipe("BartForConditionalGeneration", _BART, _finish_bart),
        "marian": _Recipe(
            "MarianMTModel",
            _BART | {"pad_token_id": 3, "decoder_start_token_id": 3, "eos_token_id": 0,
                     "forced_eos_token_id": 0, "bad_words_ids": [[3]],
                     "scale_embedding": True, "activation_function": "swish"},
            _finish_bart,
        ),
        "t5": _Recipe("T5ForConditionalGeneration", _T5, _finish_t5, 0.25),
        "t5_gated": _Recipe(
            "T5ForConditionalGeneration",
            _T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
            _finish_t5_untied,
            0.25,
        ),
        "mt5": _Recipe("MT5ForConditionalGeneration", _T5, _finish_t5_untied, 0.25),
    }  # fmt: skip


def _vary(norm: Any, end: Tensor | None = None) -> None:
    """Give a last norm random signs: a tied output then does not repeat its input."""
    generator = torch.Generator().manual_seed(5)
    norm.weight.copy_(torch.randn(norm.weight.shape, generator=generator))
    if end is not None:
        norm.bias.copy_(torch.randn(norm.bias.shape, generator=generator) * 0.2)
        norm.bias += 3.2 * end / end.norm()


def _finish_m2m(model: Any) -> None:
    end = model.model.shared.weight[model.config.eos_token_id]
    _vary(model.model.decoder.layer_norm, end)


def _finish_mbart(model: Any) -> None:
    _vary(model.model.decoder.layer_norm)
    _bias_logits(model)


def _finish_bart(model: Any) -> None:
    _vary(model.model.decoder.layers[-1].final_layer_norm)
    _bias_logits(model)


def _bias_logits(model: Any) -> None:
    model.final_logits_bias.copy_(torch.randn(model.final_logits_bias.shape) * 0.3)
    model.final_logits_bias[0, model.config.eos_token_id] = 2.5


def _finish_t5(model: Any) -> None:
    """T5 has no bias to end by; a long embedding makes the end token extreme, either way."""
    _vary(model.decoder.final_layer_norm)
    for name, parameter in model.named_parameters():
        if name.endswith(".q.weight"):  # what others do in attention, T5 leaves to its weights
            parameter *= model.config.d_kv**-0.5
    model.shared.weight[model.config.eos_token_id] *= 1.8
    if model.config.model_type == "t5" and model.config.scale_decoder_outputs:
        model.decoder.final_layer_norm.weight *= model.config.d_model**0.5


def _finish_t5_untied(model: Any) -> None:
    """Give the output a table of its own, as the published checkpoints have one."""
    table = torch.randn_like(model.shared.weight) * 0.25
    model.lm_head.weight = torch.nn.Parameter(table)
    _finish_t5(model)
    model.lm_head.weight[model.config.eos_token_id] *= 1.8
