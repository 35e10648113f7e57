"""BitFit (Ben Zaken et al. 2022, arXiv 2106.10199): every bias, those of the norms included.

    y = module(x) + delta

for every linear and layer norm with a bias. What is trained and kept is the *change* of the bias,
so that an untrained adapter is the base to the last bit and a slot is one vector to add. PEFT's own
bias method leaves out the layer norms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from peft import PeftConfig
from peft.utils import PeftType
from torch import Tensor, nn

from training.methods import plugin

METHOD: Final = "bitfit"


def register() -> None:
    """Make PEFT know BitFit; a second call does nothing."""
    plugin.register(METHOD, BitFitConfig, BitFitModel)


@dataclass
class BitFitConfig(PeftConfig):
    """Describe a BitFit adapter.

    Attributes:
        target_modules: Names or one pattern of the modules whose bias is trained.
    """

    target_modules: list[str] | str | None = field(default=None)
    exclude_modules: list[str] | str | None = None
    trainable_token_indices: list[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = PeftType(METHOD.upper())


class BitFitLayer(plugin.MergeableLayer):
    """Wrap one linear or layer norm with a bias."""

    adapter_layer_names = ("bitfit_bias",)
    bitfit_bias: nn.ParameterDict

    def add_parameters(self, adapter_name: str, config: PeftConfig) -> None:
        """Start the change of the bias at zero."""
        bias = self.get_base_layer().bias
        if not isinstance(bias, Tensor):
            raise ValueError("BitFit was pointed at a module without a bias")
        self.bitfit_bias[adapter_name] = nn.Parameter(torch.zeros(bias.shape))

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Run the wrapped module and add the changes, in the precision of its weight.

        A quantized weight has none: then it is the precision of the changes.
        """
        output: Tensor = self.base_layer(*args, **kwargs)
        for change in self.changes(self.bitfit_bias):
            dtype = self.weight.dtype if self.weight.is_floating_point() else change.dtype
            output = output.to(dtype) + change.to(dtype)
        return output

    def merged_tensors(self) -> Mapping[str, Tensor]:
        """Return the bias with the active adapters' changes in it."""
        bias = self.bias
        for change in self.changes(self.bitfit_bias):
            bias = bias + change.to(bias.dtype)
        return {"bias": bias}


class BitFitModel(plugin.PluginModel):
    """A base model with a change of every bias."""

    prefix = "bitfit_"
    tuner_layer_cls = BitFitLayer
