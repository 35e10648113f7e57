"""Checkpoints of known families: their config and tensor names in our terms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hub.engine.architecture import (
    FINAL_LAYER,
    FINAL_NORM,
    LAYER_OUTPUT,
    Architecture,
    Site,
    Stack,
)
from hub.errors import BaseNotFoundError, CorruptBaseError

_M2M_MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "self_attn.q": "self_attn.q_proj",
        "self_attn.k": "self_attn.k_proj",
        "self_attn.v": "self_attn.v_proj",
        "self_attn.out": "self_attn.out_proj",
        "cross_attn.q": "encoder_attn.q_proj",
        "cross_attn.k": "encoder_attn.k_proj",
        "cross_attn.v": "encoder_attn.v_proj",
        "cross_attn.out": "encoder_attn.out_proj",
        "fc1": "fc1",
        "fc2": "fc2",
        "self_attn_norm": "self_attn_layer_norm",
        "cross_attn_norm": "encoder_attn_layer_norm",
        "feed_forward_norm": "final_layer_norm",
    }
)
_M2M_SUBLAYERS: Final[Mapping[str, str]] = MappingProxyType(
    {"self_attn": "self_attn", "cross_attn": "encoder_attn", "feed_forward": "fc2"}
)
_NORMS: Final[Mapping[Stack, tuple[str, ...]]] = MappingProxyType(
    {
        "encoder": ("self_attn_norm", "feed_forward_norm"),
        "decoder": ("self_attn_norm", "cross_attn_norm", "feed_forward_norm"),
    }
)
_STACKS: Final[tuple[Stack, ...]] = ("encoder", "decoder")
_ACTIVATIONS: Final = ("relu", "gelu")


@dataclass(frozen=True)
class Family:
    """How one `model_type` of transformers maps to our names.

    Attributes:
        architecture: Builds the shape from a parsed config.json.
        modules: Our name inside a layer to the checkpoint's.
        sublayers: "self_attn", "cross_attn" and "feed_forward" to the module inside a layer
            whose output is added to the residual.
        layer_prefix: Checkpoint path of a layer, with `{stack}` and `{layer}`.
        final_norm: Checkpoint path of a stack's last norm, with `{stack}`.
        embeddings: Names that the (tied) embedding table may have, best first.
        ignored: Endings of tensors that are recomputed, not read.
    """

    architecture: Callable[[Mapping[str, Any]], Architecture]
    modules: Mapping[str, str]
    sublayers: Mapping[str, str]
    layer_prefix: str
    final_norm: str
    embeddings: tuple[str, ...]
    ignored: tuple[str, ...]

    def module(self, stack: Stack, layer: int, name: str) -> str:
        """Return the checkpoint's path of a layer's module."""
        return f"{self.layer_prefix.format(stack=stack, layer=layer)}.{self.modules[name]}"

    def linear_modules(self, architecture: Architecture) -> dict[str, Site]:
        """Return the checkpoint path of every linear with its site."""
        sites = architecture.linear_sites()
        return {self.module(site.stack, site.layer, site.name): site for site in sites}

    def norm_modules(self, architecture: Architecture) -> dict[str, Site]:
        """Return the checkpoint path of every norm with its site; a stack's last has layer -1."""
        sites = [
            Site(stack, layer, name)
            for stack, layer in _stack_layers(architecture)
            for name in _NORMS[stack]
        ]
        found = {self.module(site.stack, site.layer, site.name): site for site in sites}
        for stack in _STACKS if architecture.final_norm else ():
            found[self.final_norm.format(stack=stack)] = Site(stack, FINAL_LAYER, FINAL_NORM)
        return found

    def sublayer_modules(self, architecture: Architecture) -> dict[str, Site]:
        """Return the checkpoint path of every sub-layer, whose output a bottleneck may follow."""
        return self._modules(architecture, ("self_attn", "cross_attn", "feed_forward"))

    def attention_modules(self, architecture: Architecture) -> dict[str, Site]:
        """Return the checkpoint path of every attention."""
        return self._modules(architecture, ("self_attn", "cross_attn"))

    def _modules(self, architecture: Architecture, names: Sequence[str]) -> dict[str, Site]:
        return {
            f"{self.layer_prefix.format(stack=stack, layer=layer)}.{self.sublayers[name]}": Site(
                stack, layer, name
            )
            for stack, layer in _stack_layers(architecture)
            for name in names
            if stack == "decoder" or name != "cross_attn"
        }

    def layer_modules(self, architecture: Architecture) -> dict[str, Site]:
        """Return the checkpoint path of every layer with the site behind it."""
        stacks: tuple[Stack, ...] = ("encoder", "decoder")
        return {
            self.layer_prefix.format(stack=stack, layer=layer): Site(stack, layer, LAYER_OUTPUT)
            for stack in stacks
            for layer in range(architecture.layers(stack))
        }


def _stack_layers(architecture: Architecture) -> list[tuple[Stack, int]]:
    return [(stack, layer) for stack in _STACKS for layer in range(architecture.layers(stack))]


def find_family(config: Mapping[str, Any]) -> Family:
    """Return the family of a config.json.

    Raises:
        BaseNotFoundError: The engine does not know the `model_type`; names it.
    """
    model_type = config.get("model_type")
    family = _FAMILIES.get(str(model_type))
    if family is None:
        known = ", ".join(sorted(_FAMILIES))
        raise BaseNotFoundError(
            f"the engine does not serve model_type {model_type!r}; it serves {known}"
        )
    return family


def _m2m_100(config: Mapping[str, Any]) -> Architecture:
    activation = config.get("activation_function", "relu")
    if activation not in _ACTIVATIONS:
        raise BaseNotFoundError(
            f"activation_function {activation!r} is not served; use {' or '.join(_ACTIVATIONS)}"
        )
    if not config.get("tie_word_embeddings", True):
        raise BaseNotFoundError("m2m_100 with tie_word_embeddings=false is not served")
    d_model = _number(config, "d_model", 1024)
    eos = config.get("eos_token_id", 2)
    pad = _number(config, "pad_token_id", 1)
    return Architecture(
        family="m2m_100",
        d_model=d_model,
        vocab_size=_number(config, "vocab_size", 128112),
        encoder_layers=_number(config, "encoder_layers", 12),
        decoder_layers=_number(config, "decoder_layers", 12),
        encoder_heads=_number(config, "encoder_attention_heads", 16),
        decoder_heads=_number(config, "decoder_attention_heads", 16),
        encoder_ffn=_number(config, "encoder_ffn_dim", 4096),
        decoder_ffn=_number(config, "decoder_ffn_dim", 4096),
        max_positions=_number(config, "max_position_embeddings", 1024),
        activation=activation,
        norm_placement="pre",
        norm_kind="layer",
        norm_epsilon=1e-5,
        positions="sinusoidal",
        position_offset=pad + 1,
        gated_feed_forward=False,
        biases=True,
        embedding_scale=math.sqrt(d_model) if config.get("scale_embedding", True) else 1.0,
        embedding_norm=False,
        final_norm=True,
        tied_output=True,
        output_scale=1.0,
        decoder_start_id=_number(config, "decoder_start_token_id", 2),
        pad_id=pad,
        eos_ids=tuple(eos) if isinstance(eos, Sequence) else (int(eos),),
    )


def _number(config: Mapping[str, Any], name: str, default: int) -> int:
    value = config.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise CorruptBaseError(f"config.json: {name} is {value!r}, expected a whole number")
    return value


_FAMILIES: Final[Mapping[str, Family]] = MappingProxyType(
    {
        "m2m_100": Family(
            architecture=_m2m_100,
            modules=_M2M_MODULES,
            sublayers=_M2M_SUBLAYERS,
            layer_prefix="model.{stack}.layers.{layer}",
            final_norm="model.{stack}.layer_norm",
            embeddings=(
                "model.shared.weight",
                "lm_head.weight",
                "model.encoder.embed_tokens.weight",
                "model.decoder.embed_tokens.weight",
            ),
            ignored=("embed_positions.weights", "final_logits_bias"),
        )
    }
)


class Checkpoint:
    """The tensors of a base, read one at a time, each accounted for.

    Reading by our names keeps the peak of a quantizing load near one tensor.
    """

    def __init__(self, folder: Path, family: Family, architecture: Architecture) -> None:
        """Index the folder's safetensors files without reading the weights.

        Raises:
            CorruptBaseError: A file cannot be read.
        """
        self.folder = folder
        self.family = family
        self.architecture = architecture
        self._handles: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            handle = _open(path)
            self._handles.update(dict.fromkeys(handle.keys(), handle))
        self._unread = {name for name in self._handles if not name.endswith(family.ignored)}

    def linear(self, stack: Stack, layer: int, name: str) -> tuple[Tensor, Tensor]:
        """Return `(weight (out, in), bias (out,))` of a linear, float32."""
        module = self.family.module(stack, layer, name)
        out, width = self.architecture.linear_shape(stack, name)
        weight = self._read(f"{module}.weight", (out, width))
        return weight, self._read(f"{module}.bias", (out,))

    def norm(self, stack: Stack, layer: int | None, name: str = "") -> tuple[Tensor, Tensor]:
        """Return `(weight, bias)` of a layer's norm, or of the stack's last one."""
        if layer is None:
            module = self.family.final_norm.format(stack=stack)
        else:
            module = self.family.module(stack, layer, name)
        shape = (self.architecture.d_model,)
        return self._read(f"{module}.weight", shape), self._read(f"{module}.bias", shape)

    def embedding(self) -> Tensor:
        """Return the token table `(vocab_size, d_model)`, float32."""
        found = [name for name in self.family.embeddings if name in self._handles]
        if not found:
            raise CorruptBaseError(f"{self.folder} lacks {self.family.embeddings[0]}")
        self._unread.difference_update(found)
        shape = (self.architecture.vocab_size, self.architecture.d_model)
        return self._read(found[0], shape)

    def finish(self) -> None:
        """Check that every tensor of the checkpoint was used.

        Raises:
            CorruptBaseError: Names a tensor that binds to nothing.
        """
        if self._unread:
            raise CorruptBaseError(
                f"{self.folder}: {len(self._unread)} tensors bind to nothing in "
                f"{self.architecture.family}, the first is {min(self._unread)!r}"
            )

    def _read(self, name: str, shape: tuple[int, ...]) -> Tensor:
        handle = self._handles.get(name)
        if handle is None:
            raise CorruptBaseError(f"{self.folder} lacks the tensor {name!r}")
        self._unread.discard(name)
        tensor: Tensor = handle.get_tensor(name).to(torch.float32)
        if tuple(tensor.shape) != shape:
            raise CorruptBaseError(
                f"{self.folder}: {name!r} has shape {tuple(tensor.shape)}, config.json says {shape}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise CorruptBaseError(f"{self.folder}: {name!r} holds values that are not finite")
        return tensor


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CorruptBaseError(f"{path} cannot be read as safetensors: {error}") from error
