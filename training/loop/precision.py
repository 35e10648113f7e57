"""bfloat16 for the frozen base's products, and for nothing else.

`torch.autocast` would put the adapter's own products into bfloat16 too. They are narrow (a rank or
a width), where CPU kernels for bfloat16 have no fast path: a LoRA update became ten times slower
than in float32. And the CPU's fused attention has a backward pass that is five times slower in
bfloat16. So only the base's linears, which are frozen, get a bfloat16 copy of their weight;
attention, norms, residuals, adapter and loss stay float32. Outside training the linears are exact
again.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torch.nn import functional

ATTENTION_INPUTS: Final = frozenset({"q_proj", "k_proj", "v_proj", "q", "k", "v"})


class FrozenLinear(nn.Linear):
    """A linear whose product runs in bfloat16 while training, in its own precision otherwise."""

    half_weight: Tensor
    half_bias: Tensor | None
    widens: bool

    def forward(self, input: Tensor) -> Tensor:
        """Return (…, out_features), in bfloat16 while training unless `widens`."""
        if not self.training:
            return super().forward(input)
        product = functional.linear(input.bfloat16(), self.half_weight, self.half_bias)
        return product.to(input.dtype) if self.widens else product


class LiveLinear(nn.Linear):
    """A linear that is itself trained: float32 weights, products in bfloat16 while training."""

    widens: bool

    def forward(self, input: Tensor) -> Tensor:
        """Return (…, out_features), in bfloat16 while training unless `widens`."""
        if not self.training:
            return super().forward(input)
        bias = None if self.bias is None else self.bias.bfloat16()
        product = functional.linear(input.bfloat16(), self.weight.bfloat16(), bias)
        return product.to(input.dtype) if self.widens else product


def train_in_bfloat16(model: nn.Module, *, frozen: bool = True) -> None:
    """Let every linear of a base run its products in bfloat16 while training.

    Args:
        model: The base.
        frozen: Whether its weights stay as they are; then their copies are made once.
    """
    for name, module in model.named_modules():
        if type(module) is not nn.Linear:
            continue
        widens = name.rpartition(".")[2] in ATTENTION_INPUTS
        if frozen:
            _halve(module, widens=widens)
        else:
            module.__class__ = LiveLinear
            assert isinstance(module, LiveLinear)
            module.widens = widens


def _halve(linear: nn.Linear, *, widens: bool) -> None:
    """Turn a linear into a FrozenLinear in place, so that ties and names stay as they are."""
    linear.__class__ = FrozenLinear
    assert isinstance(linear, FrozenLinear)
    linear.widens = widens
    bias = None if linear.bias is None else linear.bias.detach().bfloat16()
    linear.register_buffer("half_weight", linear.weight.detach().bfloat16(), persistent=False)
    linear.register_buffer("half_bias", bias, persistent=False)
