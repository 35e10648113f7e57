"""Bottleneck adapters after every layer or every sub-layer, as a PEFT plug-in.

    y = h + up(activation(down(norm(h))))

with ``norm`` a LayerNorm of its own, ``down`` ``(width, d_model)`` and ``up`` ``(d_model, width)``,
both with a bias. With placement ``layer``, ``h`` is the output of a whole encoder or decoder layer
after its final residual: the adapter of Bapna & Firat (2019, arXiv 1909.08478, §3.1), placed where
Üstün & Cooper Stickland (arXiv 2205.11277) place theirs. With placement ``sublayer``, ``h`` is the
output of each attention and feed-forward before the residual is added (Houlsby et al. 2019, arXiv
1902.00751, §2.1). We deviate from their code in the start: ``up`` is exactly zero, so that the
untrained adapter is the base model to the last bit, and ``down`` is N(0, 0.02), so that its units
differ.

What the model reports through ``output_hidden_states`` is recorded inside the wrapped layer, that
is before the adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from peft import PeftConfig
from peft.utils import PeftType
from torch import Tensor, nn

from training.methods import plugin

METHOD: Final = "bottleneck"
LAYERS: Final = r".*\.(encoder|decoder)\.layers\.\d+"
NORM_EPS: Final = 1e-5
INITIAL_STD: Final = 0.02
PLACEMENTS: Final = ("layer", "sublayer")
ACTIVATIONS: Final[Mapping[str, type[nn.Module]]] = MappingProxyType(
    {"relu": nn.ReLU, "gelu": nn.GELU}
)


def register() -> None:
    """Make PEFT know the bottleneck; a second call does nothing."""
    plugin.register(METHOD, BottleneckConfig, BottleneckModel)


@dataclass
class BottleneckConfig(PeftConfig):
    """Describe a bottleneck adapter.

    Attributes:
        width: units of the bottleneck.
        activation: ``relu`` or ``gelu`` (exact, by the error function).
        norm: whether a LayerNorm stands in front of ``down``.
        placement: ``layer``, on the output of each whole layer, or ``sublayer``.
        target_modules: names of the modules, by suffix, or one pattern for all of the name.
    """

    width: int = 64
    activation: str = "relu"
    norm: bool = True
    placement: str = "layer"
    target_modules: list[str] | str | None = field(default=LAYERS)
    exclude_modules: list[str] | str | None = None
    trainable_token_indices: list[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = PeftType(METHOD.upper())
        if self.width < 1:
            raise ValueError(f"width is {self.width}; a bottleneck has at least one unit")
        if self.activation not in ACTIVATIONS:
            known = ", ".join(sorted(ACTIVATIONS))
            raise ValueError(f"activation is {self.activation!r}; known are {known}")
        if self.placement not in PLACEMENTS:
            known = " and ".join(PLACEMENTS)
            raise ValueError(f"placement is {self.placement!r}; known are {known}")


class BottleneckLayer(plugin.PluginLayer):
    """Wrap one layer or sub-layer; several active adapters add their changes."""

    adapter_layer_names = ("bottleneck_norm", "bottleneck_down", "bottleneck_up")
    other_param_names = ("bottleneck_activation",)
    bottleneck_norm: nn.ModuleDict
    bottleneck_down: nn.ModuleDict
    bottleneck_up: nn.ModuleDict
    bottleneck_activation: nn.ModuleDict

    def make_containers(self) -> None:
        """Create what holds the adapters' modules by adapter name."""
        for name in self.adapter_layer_names + self.other_param_names:
            setattr(self, name, nn.ModuleDict())

    def add_parameters(self, adapter_name: str, config: PeftConfig) -> None:
        """Start one adapter as the identity."""
        assert isinstance(config, BottleneckConfig)
        width = output_width(self.get_base_layer())
        if config.norm:
            self.bottleneck_norm[adapter_name] = nn.LayerNorm(width, eps=NORM_EPS)
        down = nn.Linear(width, config.width)
        up = nn.Linear(config.width, width)
        _start_as_identity(down, up)
        self.bottleneck_down[adapter_name] = down
        self.bottleneck_up[adapter_name] = up
        self.bottleneck_activation[adapter_name] = ACTIVATIONS[config.activation]()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the wrapped module, then the adapters on its output ``(batch, length, d_model)``."""
        output = self.base_layer(*args, **kwargs)
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


def output_width(module: nn.Module) -> int:
    """Return the width of a layer's or sub-layer's output, from the module that makes it.

    That is a linear itself, an attention's or feed-forward's output projection, or the last norm
    of a whole layer.
    """
    for path in ("out_proj", "o", "wo", "final_layer_norm", "layer.0.layer_norm"):
        try:
            maker = module.get_submodule(path)
        except AttributeError:
            continue
        assert isinstance(maker.weight, Tensor)
        return int(maker.weight.shape[0])
    assert isinstance(module, nn.Linear), type(module)
    return module.out_features


def _start_as_identity(down: nn.Linear, up: nn.Linear) -> None:
    nn.init.normal_(down.weight, std=INITIAL_STD)
    for zero in (down.bias, up.weight, up.bias):
        nn.init.zeros_(zero)


class BottleneckModel(plugin.PluginModel):
    """Put a bottleneck on the output of every targeted module of a base model."""

    prefix = "bottleneck_"
    tuner_layer_cls = BottleneckLayer
