"""Prefixes: trained keys and values in front of attention (Li & Liang 2021, arXiv 2101.00190).

    attention(q, [prefix_key; K], [prefix_value; V])

for every row, in any of encoder self-attention, decoder self-attention and cross-attention. The
prefix is put in front of the *projected* keys and values, takes no positions, is never masked, and
has a relative position bias of zero where the family has one (T5). PEFT's own prefix tuning reaches
the decoder's self-attention alone.

An untrained prefix is NOT the base model: whatever its keys are, they take a share of the
attention. Values start at zero and keys near zero, so that a prefix of p tokens before n others
starts by shrinking an attention's output to about n / (n + p) of itself.

Reparametrised, keys and values are made by a small network while training, one for each attention
(Li & Liang share one over the layers):

    [key; value] = out(tanh(hidden(seed)))

Only the final keys and values are saved; once they are loaded, the network is gone.

In transformers the attention itself is a function that is looked up by name. A wrapped module
looks up ours, which adds the prefix where the wrapper has passed one and is the original otherwise;
caches, masks and position biases never see the prefix.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import torch
from peft import PeftConfig
from peft.utils import PeftType
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from training.methods import plugin
from training.methods.targets import ATTENTIONS

METHOD: Final = "kv_prefix"
INITIAL_STD: Final = 0.02
HIDDEN: Final = 64
IMPLEMENTATIONS: Final = ("eager", "sdpa")
_OURS: Final = "hub_prefix_"


def register() -> None:
    """Make PEFT know the method, and transformers its attention; a second call does nothing."""
    plugin.register(METHOD, KVPrefixConfig, KVPrefixModel)
    for name in IMPLEMENTATIONS:
        ALL_ATTENTION_FUNCTIONS.register(_OURS + name, partial(prefixed_attention, name))


@dataclass
class KVPrefixConfig(PeftConfig):
    """Describe a prefix.

    Attributes:
        length: tokens of the prefix.
        attentions: which attentions have one, of ``encoder_self``, ``decoder_self``, ``cross``.
        reparametrised: whether a network makes keys and values while training.
        hidden: width of that network.
        target_modules: names or one pattern of the attention modules.
    """

    length: int = 16
    attentions: list[str] = field(default_factory=lambda: list(ATTENTIONS))
    reparametrised: bool = False
    hidden: int = HIDDEN
    target_modules: list[str] | str | None = field(default=None)
    exclude_modules: list[str] | str | None = None
    trainable_token_indices: list[int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = PeftType(METHOD.upper())
        if self.length < 1:
            raise ValueError(f"length is {self.length}; a prefix has at least one token")
        unknown = [name for name in self.attentions if name not in ATTENTIONS]
        if unknown or not self.attentions:
            raise ValueError(f"attentions is {self.attentions}; known are {', '.join(ATTENTIONS)}")


class PrefixNetwork(nn.Module):
    """Makes one attention's keys and values while training."""

    def __init__(self, length: int, hidden: int, width: int) -> None:
        super().__init__()
        self.seed = nn.Parameter(torch.randn(length, hidden))
        self.hidden = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 2 * width)
        nn.init.normal_(self.out.weight, std=INITIAL_STD)
        nn.init.zeros_(self.out.bias)
        with torch.no_grad():
            self.out.weight[width:].zero_()

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return keys and values, each ``(length, width)``."""
        key, value = self.out(torch.tanh(self.hidden(self.seed))).chunk(2, dim=-1)
        return key, value


class PrefixLayer(plugin.PluginLayer):
    """Wrap one attention module; several active adapters put their prefixes side by side."""

    adapter_layer_names = ("prefix_key", "prefix_value", "prefix_network")
    prefix_key: nn.ParameterDict
    prefix_value: nn.ParameterDict
    prefix_network: nn.ModuleDict

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: PeftConfig) -> None:
        _use_our_attention(base_layer)
        super().__init__(base_layer, adapter_name, config)
        self.register_load_state_dict_pre_hook(_drop_networks)  # type: ignore[no-untyped-call]

    def make_containers(self) -> None:
        """Create what holds prefixes, and the networks that make them, by adapter name."""
        self.frozen_peft_weight_names = {}
        self.prefix_key = nn.ParameterDict()
        self.prefix_value = nn.ParameterDict()
        self.prefix_network = nn.ModuleDict()

    def add_parameters(self, adapter_name: str, config: PeftConfig) -> None:
        """Start with keys near zero and values of zero."""
        assert isinstance(config, KVPrefixConfig)
        width = _inner_width(self.get_base_layer())
        keys = torch.randn(config.length, width) * INITIAL_STD
        self.prefix_key[adapter_name] = nn.Parameter(keys)
        self.prefix_value[adapter_name] = nn.Parameter(torch.zeros(config.length, width))
        if config.reparametrised and not config.inference_mode:
            self.prefix_network[adapter_name] = PrefixNetwork(config.length, config.hidden, width)
            self.frozen_peft_weight_names[adapter_name] = ("prefix_key", "prefix_value")

    def settle(self) -> None:
        """Write what the networks make into the keys and values that are saved."""
        with torch.no_grad():
            for name, network in self.prefix_network.items():
                key, value = network()
                self.prefix_key[name].copy_(key)
                self.prefix_value[name].copy_(value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the wrapped attention with the active prefixes in front."""
        if self.disable_adapters:
            return self.base_layer(*args, **kwargs)
        made = [self._made(name) for name in self.active_adapters if name in self.prefix_key]
        if not made:
            return self.base_layer(*args, **kwargs)
        key = torch.cat([key for key, _ in made])
        value = torch.cat([value for _, value in made])
        return self.base_layer(*args, **kwargs, prefix_key=key, prefix_value=value)

    def _made(self, name: str) -> tuple[Tensor, Tensor]:
        if name in self.prefix_network:
            key, value = self.prefix_network[name]()
            return key, value
        return self.prefix_key[name], self.prefix_value[name]


def _drop_networks(
    module: nn.Module, state_dict: Mapping[str, Tensor], prefix: str, *unused: Any
) -> None:
    """Forget the network of a prefix whose final keys are about to be loaded."""
    assert isinstance(module, PrefixLayer)
    for name in list(module.prefix_network):
        own = f"{prefix}prefix_network.{name}."
        if f"{prefix}prefix_key.{name}" in state_dict and not any(
            key.startswith(own) for key in state_dict
        ):
            del module.prefix_network[name]
            module.frozen_peft_weight_names.pop(name, None)
            module.set_adapter(module.active_adapters)


class KVPrefixModel(plugin.PluginModel):
    """A base model with prefixes in front of its attentions."""

    prefix = "prefix_"
    tuner_layer_cls = PrefixLayer

    @classmethod
    def _get_adapter_state_dict(
        cls,
        model: nn.Module,
        config: PeftConfig,
        adapter_name: str,
        state_dict: dict[str, Tensor],
        unwanted_adapter_names: list[str],
    ) -> dict[str, Tensor]:
        """Select the final keys and values; the networks that make them are not saved."""
        for module in model.modules():
            if isinstance(module, PrefixLayer):
                module.settle()
        found: dict[str, Tensor] = super()._get_adapter_state_dict(
            model, config, adapter_name, state_dict, unwanted_adapter_names
        )
        return {name: tensor for name, tensor in found.items() if ".prefix_network." not in name}


def _inner_width(attention: nn.Module) -> int:
    """Return heads × head_dim of an attention, from its value projection."""
    projection = getattr(attention, "v_proj", None) or attention.v
    assert isinstance(projection, nn.Linear)
    return projection.out_features


def _use_our_attention(attention: nn.Module) -> None:
    """Let this module alone look up our attention function; masks go by the model's own config.

    Raises:
        ValueError: The model was loaded with an attention that takes no prefix.
    """
    config: Any = attention.config
    name = config._attn_implementation or "eager"
    if name.startswith(_OURS):
        return
    if name not in IMPLEMENTATIONS:
        raise ValueError(
            f"a prefix cannot be put into attention {name!r}; load the model with "
            f"attn_implementation {' or '.join(IMPLEMENTATIONS)}"
        )
    own = copy.copy(config)
    own._attn_implementation = _OURS + name
    attention.config = own


def prefixed_attention(
    implementation: str,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    prefix_key: Tensor | None = None,
    prefix_value: Tensor | None = None,
    position_bias: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attend with a prefix ``(length, heads * head_dim)`` in front, or plainly without one.

    Args:
        implementation: Name of the attention that does the work.
        module: The attention module.
        query: ``(batch, heads, queries, head_dim)``; key and value likewise.
        key: Keys, those of earlier steps included.
        value: Values.
        attention_mask: Boolean or additive, ``(batch, 1, queries, keys)``.
        prefix_key: Keys in front, None for none.
        prefix_value: Values in front.
        position_bias: T5's bias ``(1, heads, queries, keys)``.
        kwargs: What transformers passes on.
    """
    if prefix_key is not None and prefix_value is not None:
        length = prefix_key.shape[0]
        attention_mask = _wider_mask(module, query, key, attention_mask, length)
        key = torch.cat([_heads(prefix_key, key), key], dim=2)
        value = torch.cat([_heads(prefix_value, value), value], dim=2)
        if position_bias is not None:
            position_bias = functional.pad(position_bias, (length, 0))
    if position_bias is not None:
        kwargs["position_bias"] = position_bias
    found: tuple[Tensor, Tensor | None] = _original(implementation, module)(
        module, query, key, value, attention_mask, **kwargs
    )
    return found


def _original(implementation: str, module: nn.Module) -> Callable[..., Any]:
    """Return transformers' function; the eager one lives beside the module's class."""
    eager = vars(sys.modules[type(module).__module__])["eager_attention_forward"]
    function: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager)
    return function


def _heads(prefix: Tensor, like: Tensor) -> Tensor:
    """Return ``(length, heads * head_dim)`` as ``(batch, heads, length, head_dim)``."""
    batch, heads, _, size = like.shape
    split = prefix.to(like.dtype).view(prefix.shape[0], heads, size).transpose(0, 1)
    return split.expand(batch, -1, -1, -1)


def _wider_mask(
    module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, length: int
) -> Tensor | None:
    """Return a mask that lets every query see the prefix.

    Without a mask, causal attention rests on the last key belonging to the last query; the prefix
    would shift that, so the mask is written out.
    """
    queries, keys = query.shape[2], key.shape[2]
    if mask is None:
        if queries == 1 or not getattr(module, "is_causal", False):
            return None
        rows = torch.arange(queries, device=query.device)[:, None] + keys - queries
        seen = torch.arange(keys, device=query.device)[None, :] <= rows
        mask = torch.zeros(1, 1, queries, keys, dtype=query.dtype, device=query.device)
        mask = mask.masked_fill(~seen, torch.finfo(query.dtype).min)
    visible = True if mask.dtype == torch.bool else 0.0
    return functional.pad(mask, (length, 0), value=visible)
