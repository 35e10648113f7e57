"""How our methods enter PEFT: one way to register, one base for their layers and their models.

PEFT accepts only method names of its own `PeftType`; `register` extends it. Nothing happens at
import. A process that has not called `register_all` (or the method's own `register`) cannot load
our folders through PEFT; the hub's serving engine reads them without it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils import PeftType, register_peft_method
from torch import Tensor, nn


def register(name: str, config_class: type[PeftConfig], model_class: type[BaseTuner]) -> None:
    """Make PEFT know a method by its name in lower case; a second call does nothing."""
    if name.upper() in PeftType.__members__:
        return
    _extend_peft_type(name.upper())
    register_peft_method(
        name=name, config_cls=config_class, model_cls=model_class, prefix=model_class.prefix
    )


def register_all() -> None:
    """Make PEFT know every method of ours, so that it opens any of our folders."""
    from training.methods import bitfit, bottleneck, cross_attention, norms, prefix

    for method in (bitfit, bottleneck, cross_attention, norms, prefix):
        method.register()


def _extend_peft_type(name: str) -> None:
    """Add one member to PEFT's enumeration of methods, which offers no way to (peft #2273)."""
    member = str.__new__(PeftType, name)
    member._name_ = name
    member._value_ = name
    type.__setattr__(PeftType, name, member)
    PeftType._member_names_.append(name)
    PeftType._member_map_[name] = member
    PeftType._value2member_map_[name] = member


class PluginLayer(nn.Module, BaseTunerLayer):
    """Wrap one module of the base; whatever is in `adapter_layer_names` belongs to adapters.

    The adapter's parameters stay in float32 whatever the base is in.
    """

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: PeftConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self._disable_adapters = False
        self.merged_adapters = []
        self.make_containers()
        self.update_layer(adapter_name, config)

    def make_containers(self) -> None:
        """Create what holds the adapters' parameters by adapter name."""
        for name in self.adapter_layer_names:
            setattr(self, name, nn.ParameterDict())

    def update_layer(self, adapter_name: str, config: PeftConfig) -> None:
        """Add one adapter, or start it anew."""
        self.add_parameters(adapter_name, config)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    @abstractmethod
    def add_parameters(self, adapter_name: str, config: PeftConfig) -> None:
        """Create one adapter's parameters at their start."""

    def changes(self, container: nn.ParameterDict) -> list[Tensor]:
        """Return the active adapters' tensors in a container; none while adapters are disabled."""
        if self.disable_adapters or self.merged:
            return []
        return [container[name] for name in self.active_adapters if name in container]

    def _get_base_layer_device_and_dtype(
        self, base_layer: nn.Module
    ) -> tuple[torch.device | None, torch.dtype | None]:
        """Name the module's device only, so that PEFT does not cast the adapter."""
        parameter = next(base_layer.parameters(), None)
        return (None if parameter is None else parameter.device), None


class MergeableLayer(PluginLayer):
    """A layer whose adapters can be added to the wrapped module's own tensors."""

    @abstractmethod
    def merged_tensors(self) -> Mapping[str, Tensor]:
        """Return the wrapped module's tensors with the active adapters in them, by name."""

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the active adapters to the wrapped module.

        Raises:
            ValueError: Adapters were named that are not the active ones.
        """
        if adapter_names is not None and list(adapter_names) != self.active_adapters:
            raise ValueError(f"cannot merge {adapter_names}: active are {self.active_adapters}")
        with torch.no_grad():
            for name, tensor in self.merged_tensors().items():
                getattr(self.base_layer, name).copy_(tensor)
        self.merged_adapters = list(self.active_adapters)

    def unmerge(self) -> None:
        """Refuse: subtracting would not give back the same bits.

        Raises:
            ValueError: Always.
        """
        raise ValueError("a merged adapter cannot be taken out to the last bit; reload the base")


class PluginModel(BaseTuner):
    """Puts a layer class around every targeted module of a base model."""

    tuner_layer_cls: type[PluginLayer]
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
        if isinstance(target, self.tuner_layer_cls):
            target.update_layer(adapter_name, peft_config)
            return
        layer = self.tuner_layer_cls(target, adapter_name, peft_config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    def _replace_module(
        self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module
    ) -> None:
        """Put a module in another's place; one that comes out has its weights already.

        PEFT would give it those of the module that goes, which rows of a token table compute.
        """
        if hasattr(new_module, "base_layer"):
            super()._replace_module(parent, child_name, new_module, child)
        else:
            setattr(parent, child_name, new_module)

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Refuse PEFT's `adapter_names`, which it would otherwise ignore without a word."""
        if kwargs.get("adapter_names") is not None:
            raise ValueError(
                "adapter_names: PEFT mixes adapters of this kind in no batch; "
                "the serving engine does"
            )
        yield
