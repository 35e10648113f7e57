"""Cross-attention alone (Gheini et al. 2021, arXiv 2104.08771): whole weights, kept as changes.

    y = (weight + weight_delta) x + (bias + bias_delta)

for the four projections of every cross-attention and for its layer norm. The count is that of whole
matrices, so this is never served in a slot: it is merged into a base of its own. The product is
taken with the sum of weight and change, so that the trained model and the merged base agree to the
last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from peft import PeftConfig
from peft.utils import PeftType
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from training.methods import plugin

METHOD: Final = "cross_attention"


def register() -> None:
    """Make PEFT know the method; a second call does nothing."""
    plugin.register(METHOD, CrossAttentionConfig, CrossAttentionModel)


@dataclass
class CrossAttentionConfig(PeftConfig):
    """Describe changes of the cross-attention.

    Attributes:
        target_modules: Names or one pattern of its projections and layer norms.
    """

    target_modules: list[str] | str | None = field(default=None)
    exclude_modules: list[str] | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = PeftType(METHOD.upper())


class CrossAttentionLayer(plugin.MergeableLayer):
    """Wrap one projection or norm of a cross-attention."""

    adapter_layer_names = ("cross_weight", "cross_bias")
    cross_weight: nn.ParameterDict
    cross_bias: nn.ParameterDict

    def add_parameters(self, adapter_name: str, config: PeftConfig) -> None:
        """Start the changes at zero."""
        module = self.get_base_layer()
        self.cross_weight[adapter_name] = nn.Parameter(
            torch.zeros_like(self.weight, dtype=torch.float32)
        )
        bias = getattr(module, "bias", None)
        if bias is not None:
            self.cross_bias[adapter_name] = nn.Parameter(
                torch.zeros_like(bias, dtype=torch.float32)
            )

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the module's output with the changed weight and bias."""
        if not self.changes(self.cross_weight):
            plain: Tensor = self.base_layer(hidden)
            return plain
        merged = dict(self.merged_tensors())
        if isinstance(self.base_layer, nn.Linear):
            bias = merged.get("bias", self.base_layer.bias)
            hidden = hidden.to(merged["weight"].dtype)
            return functional.linear(hidden, merged["weight"], bias)
        changed: Tensor = functional_call(self.base_layer, merged, (hidden,))
        return changed

    def merged_tensors(self) -> Mapping[str, Tensor]:
        """Return weight and bias with the active adapters in them."""
        merged = {"weight": self.weight}
        for change in self.changes(self.cross_weight):
            merged["weight"] = merged["weight"] + change.to(self.weight.dtype)
        for change in self.changes(self.cross_bias):
            merged["bias"] = merged.get("bias", self.bias) + change.to(self.weight.dtype)
        return merged


class CrossAttentionModel(plugin.PluginModel):
    """A base model with changes of its cross-attentions."""

    prefix = "cross_"
    tuner_layer_cls = CrossAttentionLayer
