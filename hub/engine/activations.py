"""Activations whose value for a row does not depend on the rows beside it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_VECTOR = 64
_SERIAL = 32768
"""Elements up to which torch keeps an operation on one thread."""


def activate(x: Tensor, activation: str) -> Tensor:
    """Return an activation of `(rows, width)` by its name, "" for none; may overwrite `x`.

    Torch computes what does not fill a vector, at the end of a thread's share, by another
    formula. Rows are therefore padded to whole vectors, and where the shares of threads could
    end inside one, they run in blocks that torch does not share out. All of that is for CPUs.
    """
    if not activation:
        return x
    if activation == "relu":
        return x.relu_()
    if x.device.type != "cpu":
        return _smooth(x, activation)
    width = x.shape[1]
    padded = functional.pad(x, (0, -width % _VECTOR)) if width % _VECTOR else x
    if torch.get_num_threads() <= 2:
        return _smooth(padded, activation)[:, :width]
    blocks = torch.split(padded, max(1, _SERIAL // padded.shape[1]))
    return torch.cat([_smooth(block, activation) for block in blocks])[:, :width]


def _smooth(x: Tensor, activation: str) -> Tensor:
    if activation == "silu":
        return functional.silu(x)
    return functional.gelu(x, approximate="tanh" if activation == "gelu_new" else "none")
