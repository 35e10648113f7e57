"""Dimensions of published bases, so that a study on them can be planned where they are not."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from hub.errors import SettingsError

_SHAPE: Final = MappingProxyType(
    {
        "d_model": 1024,
        "encoder_layers": 12,
        "decoder_layers": 12,
        "encoder_ffn_dim": 4096,
        "decoder_ffn_dim": 4096,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
    }
)
_DEEP: Final = MappingProxyType(
    {"encoder_layers": 24, "decoder_layers": 24, "encoder_ffn_dim": 8192, "decoder_ffn_dim": 8192}
)
# From the config.json of each checkpoint.
KNOWN: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "m2m100-418m": {**_SHAPE, "model_type": "m2m_100", "vocab_size": 128112},
        "m2m100-1.2b": {**_SHAPE, **_DEEP, "model_type": "m2m_100", "vocab_size": 128112},
        "mbart-50": {**_SHAPE, "model_type": "mbart", "vocab_size": 250054},
        "nllb-600m": {**_SHAPE, "model_type": "m2m_100", "vocab_size": 256206},
        "nllb-1.3b": {**_SHAPE, **_DEEP, "model_type": "m2m_100", "vocab_size": 256206},
    }
)


def known_config(name: str) -> Mapping[str, Any]:
    """Return what of a config.json the parameter counts follow from.

    Raises:
        SettingsError: The dimensions have no such name.
    """
    if name not in KNOWN:
        raise SettingsError(f"dims {name!r} is unknown; allowed: {', '.join(KNOWN)}", field="bases")
    return KNOWN[name]
