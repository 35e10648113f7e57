"""The vocabulary projection and its cross-entropy in one step, where the projection is frozen.

In one step with the loss, the gradient of the projection's input is known at once:

    dL/dh = (softmax(Wh) - (1 - ε)·onehot(y) - ε/V) W

with smoothing ε (Szegedy et al. 2016, §7). So the logits are turned into their gradient where they
lie, a piece at a time that stays in the processor's cache, and no float32 copy of them is made:
between two large products they are written once and read once. Autograd writes and reads such a
table of (tokens, vocabulary) some ten times. A large batch goes in blocks of bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn

from training.loop.onednn import ExactLinear, multiply
from training.loop.precision import FrozenLinear

BLOCK_CELLS: Final = 1 << 27
"""Logits held at a time: 268 MB in bfloat16."""
CACHED_CELLS: Final = 1 << 20
"""Logits that are float32 at a time on a CPU: 4 MB."""


def frozen_weight(head: nn.Module) -> Tensor | None:
    """Return the weight (vocabulary, d_model) that a projection multiplies by, in its precision.

    Returns:
        None where the projection is trained, has a bias or is of another kind: then autograd has
        to see it.
    """
    if type(head) not in (nn.Linear, ExactLinear, FrozenLinear):
        return None
    assert isinstance(head, nn.Linear)
    if head.bias is not None or head.weight.requires_grad:
        return None
    return head.half_weight if isinstance(head, FrozenLinear) and head.training else head.weight


def projected_loss(
    states: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    smoothing: float,
    rows: Tensor | None = None,
    index: Tensor | None = None,
) -> Tensor:
    """Return the mean label-smoothed cross-entropy of projected states.

    Args:
        states: (tokens, d_model), in any floating dtype.
        weight: (vocabulary, d_model), frozen; the products are in its dtype.
        bias: What is added to the float32 logits, (vocabulary,) or (1, vocabulary), frozen.
        labels: (tokens,) ids.
        smoothing: ε, from 0 to below 1.
        rows: (n, d_model), trained, in place of the weight's rows; None for none.
        index: (n,) ids of those rows.
    """
    apply: Callable[..., Tensor] = _ProjectedLoss.apply
    return apply(states, weight, bias, labels, smoothing, rows, index)


class _ProjectedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        smoothing: float,
        rows: Tensor | None,
        index: Tensor | None,
    ) -> Tensor:
        at_once = max(1, BLOCK_CELLS // len(weight))
        own = None if rows is None or index is None else _OwnColumns(rows, index, weight.dtype)
        total = torch.zeros((), dtype=torch.float64, device=states.device)
        gradients = []
        for part, wanted in zip(
            torch.split(states, at_once), torch.split(labels, at_once), strict=True
        ):
            converted = part.to(weight.dtype)
            logits = multiply(converted, weight)  # (at_once, vocabulary)
            if own is not None:
                own.put(converted, logits)
            total += _to_gradient(logits, bias, wanted, smoothing)
            if ctx.needs_input_grad[0] or own is not None:
                of_own = None if own is None else own.take(converted, logits)
                gradient = multiply(logits, weight.t())
                if of_own is not None:
                    gradient += of_own
                gradients.append(gradient.to(states.dtype).div_(len(states)))
        of_states = torch.cat(gradients) if gradients else None
        of_rows = None if own is None else own.gradient.div_(len(states))
        ctx.save_for_backward(of_states, of_rows)
        return (total / len(states)).float()

    @staticmethod
    def backward(
        ctx: Any, upstream: Tensor
    ) -> tuple[Tensor | None, None, None, None, None, Tensor | None, None]:
        of_states, of_rows = ctx.saved_tensors
        states = None if of_states is None else of_states * upstream
        rows = None if of_rows is None else of_rows * upstream
        return states, None, None, None, None, rows, None


class _OwnColumns:
    """Columns of logits that trained rows make, and what the loss says of those rows."""

    def __init__(self, rows: Tensor, index: Tensor, dtype: torch.dtype) -> None:
        self._rows = rows.detach().to(dtype)
        self._index = index
        self.gradient = torch.zeros_like(rows, dtype=torch.float32)

    def put(self, states: Tensor, logits: Tensor) -> None:
        """Replace the frozen rows' logits."""
        logits.index_copy_(1, self._index, multiply(states, self._rows))

    def take(self, states: Tensor, logits: Tensor) -> Tensor:
        """Take these columns' gradient off the logits' and return what it says of the states."""
        mine = logits.index_select(1, self._index)
        self.gradient += (mine.t() @ states).float()
        logits.index_fill_(1, self._index, 0.0)
        return mine @ self._rows


def _to_gradient(logits: Tensor, bias: Tensor | None, labels: Tensor, smoothing: float) -> Tensor:
    """Replace logits by the gradient of the summed loss; return that sum."""
    cells = CACHED_CELLS if logits.device.type == "cpu" else BLOCK_CELLS
    rows = max(1, cells // logits.shape[1])
    scratch = None
    if logits.dtype != torch.float32:
        scratch = logits.new_empty((min(rows, len(logits)), logits.shape[1]), dtype=torch.float32)
    losses = []
    for part, wanted in zip(torch.split(logits, rows), torch.split(labels, rows), strict=True):
        exact = part if scratch is None else scratch[: len(part)].copy_(part)
        if bias is not None:
            exact += bias
        losses.append(_float_to_gradient(exact, wanted[:, None], smoothing))
        if scratch is not None:
            part.copy_(exact)
    return torch.stack(losses).sum()


def _float_to_gradient(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Do so for float32 logits (rows, vocabulary) and labels (rows, 1)."""
    highest = logits.amax(dim=-1, keepdim=True)
    right = logits.gather(1, labels)
    mean = logits.mean(dim=-1, keepdim=True) if smoothing else 0.0
    total = logits.sub_(highest).exp_().sum(dim=-1, keepdim=True)
    logits.div_(total)
    if smoothing:
        logits.sub_(smoothing / logits.shape[1])
    logits.scatter_add_(1, labels, logits.new_full(labels.shape, smoothing - 1.0))
    losses = highest + total.log() - (1.0 - smoothing) * right - smoothing * mean
    return losses.sum(dtype=torch.float64)
