"""Bottleneck adapters after every encoder and decoder layer, as a PEFT plug-in.

    y = h + up(activation(down(norm(h))))

where ``h`` is the layer's output after its final residual, ``norm`` a LayerNorm of its own,
``down`` ``(width, d_model)`` and ``up`` ``(d_model, width)``, both with a bias. This is the
adapter of Bapna & Firat (2019, arXiv 1909.08478, §3.1), placed where Üstün & Cooper Stickland
(arXiv 2205.11277) place theirs. We deviate from their code in the start: ``up`` is exactly zero,
so that the untrained adapter is the base model to the last bit, and ``down`` is N(0, 0.02), so
that its units differ.

PEFT knows no such method and accepts only names of its own ``PeftType``; :func:`register` extends
it. Nothing happens at import. What the model reports through ``output_hidden_states`` is recorded
inside the wrapped layer, that is before the adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils import PeftType, register_peft_method
from torch import Tensor, nn

METHOD: Final = "bottleneck"
LAYERS: Final = r".*\.(encoder|decoder)\.layers\.\d+"
NORM_EPS: Final = 1e-5
INITIAL_STD: Final = 0.02
ACTIVATIONS: Final[Mapping[str, type[nn.Module]]] = MappingProxyType(
    {"relu": nn.ReLU, "gelu": nn.GELU}
)


def register() -> None:
    """Make PEFT know the bottleneck; a second call does nothing."""
    if METHOD.upper() in PeftType.__members__:
        return
    _extend_peft_type(METHOD.upper())
    register_peft_method(name=METHOD, config_cls=BottleneckConfig, model_cls=BottleneckModel)


def _extend_peft_type(name: str) -> None:
    """Add one member to PEFT's enumeration of methods, which offers no way to (peft #2273)."""
    member = str.__new__(PeftType, name)
    member._name_ = name
    member._value_ = name
    type.__setattr__(PeftType, name, member)
    PeftType._member_names_.append(name)
    PeftType._member_map_[name] = member
    PeftType._value2member_map_[name] = member


@dataclass
class BottleneckConfig(PeftConfig):
    """Describe a bottleneck adapter.

    Attributes:
        width: units of the bottleneck.
        activation: ``relu`` or ``gelu`` (exact, by the error function).
        norm: whether a LayerNorm stands in front of ``down``.
        placement: ``layer``, on the output of each whole layer.
        target_modules: names of the layers, by suffix, or one pattern for all of the name.
    """

    width: int = 64
    activation: str = "relu"
    norm: bool = True
    placement: str = "layer"
    target_modules: list[str] | str | None = field(default=LAYERS)
    exclude_modules: list[str] | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = PeftType(METHOD.upper())
        if self.width < 1:
            raise ValueError(f"width is {self.width}; a bottleneck has at least one unit")
        if self.activation not in ACTIVATIONS:
            known = ", ".join(sorted(ACTIVATIONS))
            raise ValueError(f"activation is {self.activation!r}; known are {known}")
        if self.placement != "layer":
            raise ValueError(f"placement is {self.placement!r}; only 'layer' is known")


class BottleneckLayer(nn.Module, BaseTunerLayer):
    """Wrap one encoder or decoder layer; several active adapters add their changes."""

    adapter_layer_names = ("bottleneck_norm", "bottleneck_down", "bottleneck_up")
    other_param_names = ("bottleneck_activation",)

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: BottleneckConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.bottleneck_norm = nn.ModuleDict()
        self.bottleneck_down = nn.ModuleDict()
        self.bottleneck_up = nn.ModuleDict()
        self.bottleneck_activation = nn.ModuleDict()
        self._disable_adapters = False
        self.merged_adapters = []
        self.update_layer(adapter_name, config)

    @property
    def d_model(self) -> int:
        """Width of the wrapped layer, from its final LayerNorm."""
        norm = self.get_base_layer().final_layer_norm
        assert isinstance(norm, nn.LayerNorm)
        return int(norm.normalized_shape[0])

    def update_layer(self, adapter_name: str, config: BottleneckConfig) -> None:
        """Add one adapter, or start it anew."""
        if config.norm:
            self.bottleneck_norm[adapter_name] = nn.LayerNorm(self.d_model, eps=NORM_EPS)
        down = nn.Linear(self.d_model, config.width)
        up = nn.Linear(config.width, self.d_model)
        _start_as_identity(down, up)
        self.bottleneck_down[adapter_name] = down
        self.bottleneck_up[adapter_name] = up
        self.bottleneck_activation[adapter_name] = ACTIVATIONS[config.activation]()
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def _get_base_layer_device_and_dtype(
        self, base_layer: nn.Module
    ) -> tuple[torch.device | None, torch.dtype | None]:
        """Name the layer's device only: the adapter stays in float32 whatever the base is in."""
        parameter = next(base_layer.parameters(), None)
        return (None if parameter is None else parameter.device), None

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run the wrapped layer, then the adapters on its output ``(batch, length, d_model)``."""
        output = self.base_layer(hidden, *args, **kwargs)
        if self.disable_adapters:
            return output
        if isinstance(output, tuple):
            return (self._adapt(output[0]), *output[1:])
        return self._adapt(output)

    def _adapt(self, hidden: Tensor) -> Tensor:
        adapted = hidden
        for name in self.active_adapters:
            if name in self.bottleneck_down:
                adapted = adapted + self._change(hidden, name).to(hidden.dtype)
        return adapted

    def _change(self, hidden: Tensor, name: str) -> Tensor:
        down = self.bottleneck_down[name]
        assert isinstance(down, nn.Linear)
        hidden = hidden.to(down.weight.dtype)
        if name in self.bottleneck_norm:
            hidden = self.bottleneck_norm[name](hidden)
        change: Tensor = self.bottleneck_up[name](self.bottleneck_activation[name](down(hidden)))
        return change


def _start_as_identity(down: nn.Linear, up: nn.Linear) -> None:
    nn.init.normal_(down.weight, std=INITIAL_STD)
    for zero in (down.bias, up.weight, up.bias):
        nn.init.zeros_(zero)


class BottleneckModel(BaseTuner):
    """Put a bottleneck on the output of every targeted layer of a base model."""

    prefix: str = "bottleneck_"
    tuner_layer_cls = BottleneckLayer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012  # peft's declaration

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        assert isinstance(peft_config, BottleneckConfig)
        if isinstance(target, BottleneckLayer):
            target.update_layer(adapter_name, peft_config)
            return
        layer = BottleneckLayer(target, adapter_name, peft_config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)
