"""Module names by model family: one table of where each method acts.

PEFT has no default targets for M2M-100, mBART and Marian, and its defaults for T5 and BART are not
those of the study. Patterns are matched against whole module paths; names against their last part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hub.errors import SettingsError

ATTENTIONS: Final = ("encoder_self", "decoder_self", "cross")


@dataclass(frozen=True)
class ModuleNames:
    """Where a family keeps what.

    Attributes:
        layers: Pattern of whole encoder and decoder layers.
        sublayers: Pattern of the modules whose output is added to the residual stream.
        attentions: Kind of attention to the pattern of its modules.
        query: Name of the projection; `key`, `value` and `output` likewise.
        feed_forward_in: Names of the projections into the feed-forward's width, gates included.
        feed_forward_out: Name of the projection out of it.
        norms: Pattern of every layer norm.
        cross_attention: Pattern of the cross-attention's projections and of its layer norm.
        biased: Pattern of every module with a bias; "" where the family has none.
    """

    layers: str
    sublayers: str
    attentions: Mapping[str, str]
    query: str
    key: str
    value: str
    output: str
    feed_forward_in: tuple[str, ...]
    feed_forward_out: str
    norms: str
    cross_attention: str
    biased: str

    def linears(self, targets: str) -> tuple[str, ...]:
        """Return the names of linears by LoRA's word for them: qv, attention or all-linear."""
        attention = (self.query, self.key, self.value, self.output)
        return {
            "qv": (self.query, self.value),
            "attention": attention,
            "all-linear": (*attention, *self.feed_forward_in, self.feed_forward_out),
        }[targets]


_BART: Final = ModuleNames(
    layers=r"(.*\.)?(encoder|decoder)\.layers\.\d+",
    sublayers=r"(.*\.)?(encoder|decoder)\.layers\.\d+\.(self_attn|encoder_attn|fc2)",
    attentions=MappingProxyType(
        {
            "encoder_self": r"(.*\.)?encoder\.layers\.\d+\.self_attn",
            "decoder_self": r"(.*\.)?decoder\.layers\.\d+\.self_attn",
            "cross": r"(.*\.)?decoder\.layers\.\d+\.encoder_attn",
        }
    ),
    query="q_proj",
    key="k_proj",
    value="v_proj",
    output="out_proj",
    feed_forward_in=("fc1",),
    feed_forward_out="fc2",
    norms=r"(.*\.)?(encoder|decoder)\.(layers\.\d+\.\w+_layer_norm|layer_norm|layernorm_embedding)",
    cross_attention=(
        r"(.*\.)?decoder\.layers\.\d+\.(encoder_attn\.(q|k|v|out)_proj|encoder_attn_layer_norm)"
    ),
    biased=(
        r"(.*\.)?(encoder|decoder)\.(layers\.\d+\.("
        r"(self_attn|encoder_attn)\.(q|k|v|out)_proj|fc1|fc2|\w+_layer_norm)"
        r"|layer_norm|layernorm_embedding)"
    ),
)
_T5: Final = ModuleNames(
    layers=r"(.*\.)?(encoder|decoder)\.block\.\d+",
    sublayers=(
        r"(.*\.)?(encoder|decoder)\.block\.\d+\.layer\.\d+"
        r"\.(SelfAttention|EncDecAttention|DenseReluDense)"
    ),
    attentions=MappingProxyType(
        {
            "encoder_self": r"(.*\.)?encoder\.block\.\d+\.layer\.0\.SelfAttention",
            "decoder_self": r"(.*\.)?decoder\.block\.\d+\.layer\.0\.SelfAttention",
            "cross": r"(.*\.)?decoder\.block\.\d+\.layer\.1\.EncDecAttention",
        }
    ),
    query="q",
    key="k",
    value="v",
    output="o",
    feed_forward_in=("wi", "wi_0", "wi_1"),
    feed_forward_out="wo",
    norms=r"(.*\.)?(encoder|decoder)\.(block\.\d+\.layer\.\d+\.layer_norm|final_layer_norm)",
    cross_attention=r"(.*\.)?decoder\.block\.\d+\.layer\.1\.(EncDecAttention\.[qkvo]|layer_norm)",
    biased="",
)

FAMILIES: Final[Mapping[str, ModuleNames]] = MappingProxyType(
    {"m2m_100": _BART, "mbart": _BART, "bart": _BART, "marian": _BART, "t5": _T5, "mt5": _T5}
)


def module_names(family: str) -> ModuleNames:
    """Return the module names of a family by its `model_type` in transformers.

    Raises:
        SettingsError: The family is unknown; the message lists those that are known.
    """
    if family not in FAMILIES:
        raise SettingsError(
            f"no adapter method knows the modules of model type {family!r}; known are "
            f"{', '.join(FAMILIES)}",
            field="base",
        )
    return FAMILIES[family]
