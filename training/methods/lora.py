"""LoRA (Hu et al. 2021, arXiv 2106.09685): which linears it acts on in each family, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from peft import LoraConfig

ALPHA_PER_RANK: Final = 2

# PEFT has no default targets for these families. The names cover self- and cross-attention alike.
TARGETS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "qv": ("q_proj", "v_proj"),
        "attention": ("q_proj", "k_proj", "v_proj", "out_proj"),
        "all-linear": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
    }
)


def lora_config(rank: int, targets: str, dropout: float) -> LoraConfig:
    """Return PEFT's configuration, α growing with the rank so that budgets stay comparable.

    The vocabulary projection is never a target: it is tied to the embeddings.
    """
    from peft import LoraConfig

    return LoraConfig(
        r=rank,
        lora_alpha=ALPHA_PER_RANK * rank,
        lora_dropout=dropout,
        target_modules=list(TARGETS[targets]),
        bias="none",
        task_type="SEQ_2_SEQ_LM",
    )
