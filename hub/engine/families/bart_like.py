"""BART, mBART and mBART-50, and what M2M-100 and Marian share with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from hub.engine.architecture import Architecture, Stack
from hub.engine.families.config import (
    activation,
    decoding_defaults,
    eos_ids,
    refuse_unless,
    size,
    validated,
    whole,
)
from hub.engine.families.family import Family
from hub.errors import BaseNotFoundError

_ENCODER: Final[Mapping[str, str]] = MappingProxyType(
    {
        "self_attn": "self_attn",
        "self_attn.q": "self_attn.q_proj",
        "self_attn.k": "self_attn.k_proj",
        "self_attn.v": "self_attn.v_proj",
        "self_attn.out": "self_attn.out_proj",
        "fc1": "fc1",
        "fc2": "fc2",
        "feed_forward": "fc2",
        "self_attn_norm": "self_attn_layer_norm",
        "feed_forward_norm": "final_layer_norm",
    }
)
_DECODER: Final[Mapping[str, str]] = MappingProxyType(
    {
        **_ENCODER,
        "cross_attn": "encoder_attn",
        "cross_attn.q": "encoder_attn.q_proj",
        "cross_attn.k": "encoder_attn.k_proj",
        "cross_attn.v": "encoder_attn.v_proj",
        "cross_attn.out": "encoder_attn.out_proj",
        "cross_attn_norm": "encoder_attn_layer_norm",
    }
)
MODULES: Final[Mapping[Stack, Mapping[str, str]]] = MappingProxyType(
    {"encoder": _ENCODER, "decoder": _DECODER}
)
LAYER_PREFIX: Final = "model.{stack}.layers.{layer}"
EMBEDDINGS: Final = (
    "model.shared.weight",
    "model.encoder.embed_tokens.weight",
    "model.decoder.embed_tokens.weight",
    "lm_head.weight",
)
OUTPUT: Final = "lm_head.weight"
UNUSED: Final = ("encoder.version", "decoder.version", "embed_positions._float_tensor")
"""Left behind by fairseq."""
OUTPUT_BIAS: Final = "final_logits_bias"
_DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "vocab_size": 50265,
        "d_model": 1024,
        "encoder_layers": 12,
        "decoder_layers": 12,
        "encoder_attention_heads": 16,
        "decoder_attention_heads": 16,
        "encoder_ffn_dim": 4096,
        "decoder_ffn_dim": 4096,
        "max_position_embeddings": 1024,
        "activation_function": "gelu",
        "scale_embedding": False,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }
)


def bart_like(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> Architecture:
    """Return the shape of a model whose config has BART's keys.

    It has BART's fixed parts too, which the other families replace: norms behind the
    sub-layers and the embeddings, none at the end, learned positions, a bias of the logits.

    Args:
        config: A parsed config.json.
        defaults: The family's values of keys that the config leaves out.

    Raises:
        BaseNotFoundError: An option is not served.
        CorruptBaseError: A number is not one, or does not fit the others.
    """
    given = {**_DEFAULTS, **defaults, **config}
    refuse_unless(given, "tie_word_embeddings", True)
    d_model = size(given, "d_model")
    found = Architecture(
        family=str(given["model_type"]),
        d_model=d_model,
        vocab_size=size(given, "vocab_size"),
        encoder_layers=size(given, "encoder_layers"),
        decoder_layers=size(given, "decoder_layers"),
        encoder_heads=size(given, "encoder_attention_heads"),
        decoder_heads=size(given, "decoder_attention_heads"),
        encoder_ffn=size(given, "encoder_ffn_dim"),
        decoder_ffn=size(given, "decoder_ffn_dim"),
        max_positions=size(given, "max_position_embeddings"),
        activation=activation(given, "activation_function", str(given["activation_function"])),
        norm_placement="post",
        norm_kind="layer",
        norm_epsilon=1e-5,
        positions="learned",
        position_offset=2,
        gated_feed_forward=False,
        biases=True,
        embedding_scale=math.sqrt(d_model) if given["scale_embedding"] else 1.0,
        embedding_norm=True,
        final_norm=False,
        tied_output=True,
        output_scale=1.0,
        decoder_start_id=whole(given, "decoder_start_token_id"),
        pad_id=whole(given, "pad_token_id"),
        eos_ids=eos_ids(given),
        output_bias=True,
        decoding=decoding_defaults(given),
    )
    return validated(found)


def _bart(config: Mapping[str, Any]) -> Architecture:
    return bart_like(config, {"decoder_start_token_id": 2})


def _mbart(config: Mapping[str, Any]) -> Architecture:
    if config.get("decoder_start_token_id") is None:
        raise BaseNotFoundError(
            "mbart without decoder_start_token_id is not served: it was not fine-tuned for "
            "translation into one language; set that language's token id in generation_config.json"
        )
    return replace(bart_like(config, {}), norm_placement="pre", final_norm=True)


BART: Final = Family(
    architecture=_bart,
    modules=MODULES,
    layer_prefix=LAYER_PREFIX,
    final_norm="",
    embeddings=EMBEDDINGS,
    output=OUTPUT,
    unused=UNUSED,
    embedding_norm="model.{stack}.layernorm_embedding",
    positions="model.{stack}.embed_positions.weight",
    output_bias=OUTPUT_BIAS,
)
MBART: Final = Family(
    architecture=_mbart,
    modules=MODULES,
    layer_prefix=LAYER_PREFIX,
    final_norm="model.{stack}.layer_norm",
    embeddings=EMBEDDINGS,
    output=OUTPUT,
    unused=UNUSED,
    embedding_norm="model.{stack}.layernorm_embedding",
    positions="model.{stack}.embed_positions.weight",
    output_bias=OUTPUT_BIAS,
)
