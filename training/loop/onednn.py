"""Float32 products with a frozen weight, by the library that multiplies fastest.

torch's float32 products on x86 are MKL's, which on processors of other makers than Intel leaves
half of their speed unused; oneDNN, which torch comes with, does not. Its product is an operator
that torch's compiler uses and that has no gradient of its own: here the weight is frozen, so that
the gradient is one more product.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


def has_onednn() -> bool:
    """Return whether this machine's float32 products can be oneDNN's."""
    x86 = platform.machine() in ("x86_64", "AMD64")
    return x86 and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def multiply(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `values @ weight.T + bias`, without a gradient.

    Args:
        values: (…, in_features).
        weight: (out_features, in_features), in any layout.
        bias: (out_features,).
    """
    exact = values.dtype == weight.dtype == torch.float32
    if exact and values.device.type == "cpu" and values.numel() and has_onednn():
        product: Tensor = torch.ops.mkldnn._linear_pointwise(values, weight, bias, "none", [], "")
        return product
    return functional.linear(values, weight, bias)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return multiply(values, weight, bias)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return multiply(upstream, weight.t()), None, None


class ExactLinear(nn.Linear):
    """A frozen float32 linear whose products are `multiply`'s while training."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (…, out_features)."""
        if not self.training or self.weight.requires_grad:
            return super().forward(input)
        apply: Callable[..., Tensor] = _Product.apply
        return apply(input, self.weight, self.bias)


def train_without_onednn(model: nn.Module) -> None:
    """Make them plain linears again, for who replaces them by another kind."""
    plain: type[nn.Module] = nn.Linear
    for module in model.modules():
        if type(module) is ExactLinear:
            cast(nn.Module, module).__class__ = plain


def train_with_onednn(model: nn.Module) -> None:
    """Let every linear of a frozen float32 base use oneDNN's products while training."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = ExactLinear
