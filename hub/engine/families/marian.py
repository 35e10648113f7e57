"""Marian (arXiv 1804.00344), as in the OPUS-MT checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from hub.engine.architecture import Architecture
from hub.engine.families.bart_like import (
    EMBEDDINGS,
    LAYER_PREFIX,
    MODULES,
    OUTPUT,
    OUTPUT_BIAS,
    UNUSED,
    bart_like,
)
from hub.engine.families.config import refuse_unless
from hub.engine.families.family import Family
from hub.errors import BaseNotFoundError

_DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "vocab_size": 58101,
        "pad_token_id": 58100,
        "eos_token_id": 0,
        "decoder_start_token_id": 58100,
    }
)


def _marian(config: Mapping[str, Any]) -> Architecture:
    refuse_unless(config, "share_encoder_decoder_embeddings", True)
    size = config.get("vocab_size", _DEFAULTS["vocab_size"])
    target_size = config.get("decoder_vocab_size")
    if target_size not in (None, size):
        raise BaseNotFoundError(
            f"marian with decoder_vocab_size={target_size} beside vocab_size={size} is not served; "
            "both sides must share one vocabulary"
        )
    return replace(bart_like(config, _DEFAULTS), positions="marian", position_offset=0,
                   embedding_norm=False)  # fmt: skip


MARIAN: Final = Family(
    architecture=_marian,
    modules=MODULES,
    layer_prefix=LAYER_PREFIX,
    final_norm="",
    embeddings=EMBEDDINGS,
    output=OUTPUT,
    unused=UNUSED,
    computed=("embed_positions.weight",),
    output_bias=OUTPUT_BIAS,
    input_embedding="model.encoder.embed_tokens",
)
