"""Layer norms alone: the weights, as in the study's variant of BitFit, or weights and biases.

    y = normalise(x) * (weight + weight_delta) + (bias + bias_delta)

Üstün & Cooper Stickland (arXiv 2205.11277) train the layer norms' weights in place of biases. What
is trained and kept are changes, so that an untrained adapter is the base to the last bit. RMS norms
(T5) have a weight only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from peft import PeftConfig
from peft.utils import PeftType
from torch import Tensor, nn
from torch.func import functional_call

from training.methods import plugin

METHOD: Final = "norms"
TRAINS: Final = ("weight", "both")


def register() -> None:
    """Make PEFT know the method; a second call does nothing."""
    plugin.register(METHOD, NormsConfig, NormsModel)


@dataclass
class NormsConfig(PeftConfig):
    """Describe an adapter of the layer norms.

    Attributes:
        train: ``weight``, or ``both`` weight and bias.
        target_modules: Names or one pattern of the norms.
    """

    train: str = "weight"
    target_modules: list[str] | str | None = field(default=None)
    exclude_modules: list[str] | str | None = None
    trainable_token_indices: list[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = PeftType(METHOD.upper())
        if self.train not in TRAINS:
            raise ValueError(f"train is {self.train!r}; known are {' and '.join(TRAINS)}")


class NormLayer(plugin.MergeableLayer):
    """Wrap one norm of any kind that has a weight."""

    adapter_layer_names = ("norm_weight", "norm_bias")
    norm_weight: nn.ParameterDict
    norm_bias: nn.ParameterDict

    def add_parameters(self, adapter_name: str, config: PeftConfig) -> None:
        """Start the changes at zero."""
        assert isinstance(config, NormsConfig)
        norm = self.get_base_layer()
        self.norm_weight[adapter_name] = nn.Parameter(
            torch.zeros_like(self.weight, dtype=torch.float32)
        )
        bias = getattr(norm, "bias", None)
        if config.train == "both" and bias is not None:
            self.norm_bias[adapter_name] = nn.Parameter(torch.zeros_like(bias, dtype=torch.float32))

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Normalise ``(…, d_model)`` with the changed weight and bias."""
        if not self.changes(self.norm_weight):
            plain: Tensor = self.base_layer(hidden, *args, **kwargs)
            return plain
        changed: Tensor = functional_call(
            self.base_layer, dict(self.merged_tensors()), (hidden, *args), kwargs
        )
        return changed

    def merged_tensors(self) -> Mapping[str, Tensor]:
        """Return weight and, where it is trained, bias with the active adapters in them."""
        merged = {"weight": self.weight}
        for change in self.changes(self.norm_weight):
            merged["weight"] = merged["weight"] + change.to(self.weight.dtype)
        for change in self.changes(self.norm_bias):
            merged["bias"] = merged.get("bias", self.bias) + change.to(self.weight.dtype)
        return merged


class NormsModel(plugin.PluginModel):
    """A base model with changes of its layer norms."""

    prefix = "norm_"
    tuner_layer_cls = NormLayer
