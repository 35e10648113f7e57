"""Dropout that draws four numbers at once, for CPUs.

torch draws one number of 53 bits for each value, in one thread; on a base with dropout this took as
long as all layer norms, attention products and activations together. Whether to keep a value needs
far fewer bits: sixteen decide it here, so that a rate is kept to within 1/65536. The generator is
torch's own, so that a run is repeated and continued as before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

VALUES: Final = 1 << 16
DRAWS: Final = 4
"""Numbers of 16 bits in one of 64."""


def drop(values: Tensor, rate: float) -> Tensor:
    """Zero a share of values at random and scale up the rest (Srivastava et al. 2014, §10).

    Args:
        values: Any shape, on a CPU.
        rate: The share, above 0 and below 1.
    """
    return values * _factors(values, rate)


def _factors(values: Tensor, rate: float) -> Tensor:
    """Return 0 or 1 / (1 - rate) for each value."""
    dropped = round(rate * VALUES)
    drawn = torch.empty(-(-values.numel() // DRAWS), dtype=torch.int64)
    drawn.random_(-(1 << 63), None)
    numbers = drawn.view(torch.int16)[: values.numel()].view(values.shape)
    kept = numbers >= dropped - VALUES // 2
    return kept.to(values.dtype).mul_(VALUES / (VALUES - dropped))


class _Quick(TorchFunctionMode):
    """While it is entered, torch's dropout is ours."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        return _dropout(*args, **kwargs) if func is functional.dropout else func(*args, **kwargs)


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Stand in for `functional.dropout`, under its own names."""
    whole = round(p * VALUES) in (0, VALUES)
    if not training or whole or inplace or input.device.type != "cpu":
        return functional.dropout(input, p, training, inplace)
    return drop(input, p)


class QuickDropout(nn.Dropout):
    """A dropout module that uses `drop` on a CPU while training."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the input's shape."""
        return _dropout(input, self.p, self.training, self.inplace)


def quicken_modules(model: nn.Module) -> None:
    """Let every dropout module of a model be a `QuickDropout`."""
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = QuickDropout


def quicken_layers(model: nn.Module) -> None:
    """Let transformers layers that call torch's function for dropout use `drop` while training.

    Every call of torch in them takes a microsecond longer: worth it where there is dropout. Layers
    become a class of their own, below which transformers computes a layer a second time for its
    gradient, so that both times the same is drawn.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    kinds = {type(layer) for layer in layers}
    quick = {kind: type(f"Quick{kind.__name__}", (_QuickForward, kind), {}) for kind in kinds}
    for layer in layers:
        layer.__class__ = quick[type(layer)]


class _QuickForward(nn.Module):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not self.training:
            return super().forward(*args, **kwargs)
        with _Quick():
            return super().forward(*args, **kwargs)
