"""Training in less memory: layers computed twice instead of kept."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def checkpoint_layers(model: nn.Module) -> None:
    """Keep of every layer its input only, and compute the rest again for the gradient.

    Chen et al. 2016, arXiv 1604.06174. The gradients are the same: the second pass draws the same
    dropout. The switch of transformers is not used, because it makes the embeddings' output require
    gradients, which a frozen base is then computed for; the non-reentrant kind needs none.

    Args:
        model: A transformers model, with or without an adapter in it.
    """
    from torch.utils.checkpoint import checkpoint
    from transformers.modeling_layers import GradientCheckpointingLayer

    again = partial(checkpoint, use_reentrant=False)
    layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    assert layers, "every family's layers can be checkpointed"
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = again  # type: ignore[assignment]
