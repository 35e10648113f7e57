"""T5 (arXiv 1910.10683), T5 v1.1, mT5 (arXiv 2010.11934) and MADLAD-400 (arXiv 2309.04662)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from hub.dimensions import T5_POSITIONS
from hub.engine.architecture import Architecture, RelativeBias, Stack
from hub.engine.families.config import (
    activation,
    decoding_defaults,
    eos_ids,
    positive,
    refuse_unless,
    size,
    validated,
    whole,
)
from hub.engine.families.family import Family

_DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "vocab_size": 32128,
        "d_model": 512,
        "d_kv": 64,
        "d_ff": 2048,
        "num_layers": 6,
        "num_heads": 8,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    }
)


def _modules(cross: bool) -> Mapping[str, str]:
    feed_forward = f"layer.{2 if cross else 1}"
    attentions = {"self_attn": "layer.0.SelfAttention"}
    if cross:
        attentions["cross_attn"] = "layer.1.EncDecAttention"
    found = {
        "self_attn_norm": "layer.0.layer_norm",
        "feed_forward": f"{feed_forward}.DenseReluDense",
        "feed_forward_norm": f"{feed_forward}.layer_norm",
        "fc2": f"{feed_forward}.DenseReluDense.wo",
    }
    for name, path in attentions.items():
        found[name] = path
        found |= {f"{name}.{part}": f"{path}.{part}" for part in "qkv"}
        found[f"{name}.out"] = f"{path}.o"
    if cross:
        found["cross_attn_norm"] = "layer.1.layer_norm"
    return found


def _family_modules(gated: bool) -> Mapping[Stack, Mapping[str, str]]:
    found: dict[Stack, Mapping[str, str]] = {}
    for stack, cross in ("encoder", False), ("decoder", True):
        names = dict(_modules(cross))
        inner = names["feed_forward"]
        if gated:
            names |= {"fc1_gate": f"{inner}.wi_0", "fc1": f"{inner}.wi_1"}
        else:
            names["fc1"] = f"{inner}.wi"
        found["encoder" if stack == "encoder" else "decoder"] = MappingProxyType(names)
    return MappingProxyType(found)


def is_gated(config: Mapping[str, Any]) -> bool:
    """Return whether a config asks for gated feed-forward layers."""
    return _projection(config).startswith("gated-")


def _projection(config: Mapping[str, Any]) -> str:
    default = "relu" if config.get("model_type") == "t5" else "gated-gelu"
    return str(config.get("feed_forward_proj", default))


def _activation(config: Mapping[str, Any]) -> str:
    value = _projection(config)
    name = value.removeprefix("gated-")
    if value == "gated-gelu":  # the authors' approximation, by another name
        name = "gelu_new"
    return activation(config, "feed_forward_proj", name)


def _t5(config: Mapping[str, Any]) -> Architecture:
    given = {**_DEFAULTS, **config}
    if given.get("num_decoder_layers") is None:
        given["num_decoder_layers"] = given["num_layers"]
    refuse_unless(given, "is_encoder_decoder", True)
    d_model, heads, ffn = (size(given, name) for name in ("d_model", "num_heads", "d_ff"))
    found = Architecture(
        family=str(given["model_type"]),
        d_model=d_model,
        vocab_size=size(given, "vocab_size"),
        encoder_layers=size(given, "num_layers"),
        decoder_layers=size(given, "num_decoder_layers"),
        encoder_heads=heads,
        decoder_heads=heads,
        encoder_ffn=ffn,
        decoder_ffn=ffn,
        max_positions=max(T5_POSITIONS, whole(given, "n_positions", 0)),
        activation=_activation(given),
        norm_placement="pre",
        norm_kind="rms",
        norm_epsilon=positive(given, "layer_norm_epsilon", 1e-6),
        positions="relative",
        position_offset=0,
        gated_feed_forward=is_gated(given),
        biases=False,
        embedding_scale=1.0,
        embedding_norm=False,
        final_norm=True,
        tied_output=False,
        output_scale=d_model**-0.5 if _scales_output(given) else 1.0,
        decoder_start_id=whole(given, "decoder_start_token_id"),
        pad_id=whole(given, "pad_token_id"),
        eos_ids=eos_ids(given),
        head_dim=size(given, "d_kv"),
        attention_scaled=False,
        relative=RelativeBias(
            buckets=size(given, "relative_attention_num_buckets"),
            max_distance=size(given, "relative_attention_max_distance"),
        ),
        decoding=decoding_defaults(given),
    )
    return validated(found)


def _scales_output(config: Mapping[str, Any]) -> bool:
    """Return whether the decoder's output is scaled: in T5 of the first generation alone.

    Its config says tie_word_embeddings; transformers 5 writes scale_decoder_outputs beside it,
    because there the word "tied" no longer tells the generations apart.
    """
    if config.get("model_type") != "t5":
        return False
    tied = config.get("tie_word_embeddings", True) is not False
    return bool(config.get("scale_decoder_outputs", tied))


def _family(gated: bool) -> Family:
    return Family(
        architecture=_t5,
        modules=_family_modules(gated),
        layer_prefix="{stack}.block.{layer}",
        final_norm="{stack}.final_layer_norm",
        embeddings=(
            "shared.weight",
            "encoder.embed_tokens.weight",
            "decoder.embed_tokens.weight",
        ),
        output="lm_head.weight",
        unused=("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",),
        relative_bias="{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    )


T5: Final = _family(gated=False)
T5_GATED: Final = _family(gated=True)
