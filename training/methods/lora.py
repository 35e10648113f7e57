"""LoRA (Hu et al. 2021, arXiv 2106.09685) and its variants, as PEFT has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from training.methods.targets import module_names

if TYPE_CHECKING:
    from peft import LoraConfig

ALPHA_PER_RANK: Final = 2
RSLORA_ALPHA: Final = 8
"""With rsLoRA the scale is α/√r: at rank 16 this is the 2 of plain LoRA."""
DROPOUT: Final = 0.05
TARGETS: Final = ("qv", "attention", "all-linear")


def lora_config(
    rank: int, targets: str, family: str, *, rslora: bool = False, dora: bool = False
) -> LoraConfig:
    """Return PEFT's configuration, α growing with the rank so that budgets stay comparable.

    The vocabulary projection is never a target: it is tied to the embeddings.

    Args:
        rank: Columns of A and rows of B.
        targets: qv, attention or all-linear; self- and cross-attention alike.
        family: The base's `model_type`; PEFT has no default targets for most.
        rslora: Scale by α/√r (Kalajdzievski 2023, arXiv 2312.03732).
        dora: Train the magnitude of each output apart (Liu et al. 2024, arXiv 2402.09353).
    """
    from peft import LoraConfig

    return LoraConfig(
        r=rank,
        lora_alpha=RSLORA_ALPHA if rslora else ALPHA_PER_RANK * rank,
        lora_dropout=DROPOUT,
        target_modules=list(module_names(family).linears(targets)),
        use_rslora=rslora,
        use_dora=dora,
        bias="none",
        task_type="SEQ_2_SEQ_LM",
    )
