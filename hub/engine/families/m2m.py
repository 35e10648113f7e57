"""M2M-100 (arXiv 2010.11125) and NLLB-200 (arXiv 2207.04672)."""

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
from hub.engine.families.family import Family

_DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "vocab_size": 128112,
        "activation_function": "relu",
        "scale_embedding": True,
        "decoder_start_token_id": 2,
    }
)


def _m2m_100(config: Mapping[str, Any]) -> Architecture:
    found = bart_like(config, _DEFAULTS)
    return replace(
        found,
        norm_placement="pre",
        positions="sinusoidal",
        position_offset=found.pad_id + 1,
        embedding_norm=False,
        final_norm=True,
        output_bias=False,
    )


M2M_100: Final = Family(
    architecture=_m2m_100,
    modules=MODULES,
    layer_prefix=LAYER_PREFIX,
    final_norm="model.{stack}.layer_norm",
    embeddings=EMBEDDINGS,
    output=OUTPUT,
    unused=UNUSED,
    computed=("embed_positions.weight", "embed_positions.weights"),
    zeros=(OUTPUT_BIAS,),
)
