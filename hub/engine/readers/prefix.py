"""Prefixes (Li and Liang, 2021): our own for every attention, and PEFT's for the decoder."""

from __future__ import annotations

import re
from typing import Final

import torch
from torch import Tensor

from hub.engine.architecture import Site, Stack
from hub.engine.prefixes import Prefix
from hub.engine.readers.files import AdapterFiles, check_shape, missing, unbound
from hub.engine.readers.target import Contents, Target
from hub.errors import IncompatibleAdapterError

_KEY: Final = re.compile(r"(?P<module>.+)\.prefix_(?P<part>key|value)")
_ATTENTIONS: Final[dict[str, tuple[Stack, str]]] = {
    "encoder_self": ("encoder", "self_attn"),
    "decoder_self": ("decoder", "self_attn"),
    "cross": ("decoder", "cross_attn"),
}
_PEFT_TENSOR: Final = "prompt_embeddings"


def read_kv_prefix(files: AdapterFiles, target: Target) -> Contents:
    """Return keys and values for the attentions that the config names, in all their layers."""
    files.refuse(("modules_to_save",), "a prefix")
    length = _length(files, "length", target)
    wanted = [_ATTENTIONS[name] for name in _attentions(files)]
    sites = {
        module: site
        for module, site in target.attentions.items()
        if (site.stack, site.name) in wanted
    }
    rows: dict[Site, Tensor] = {}
    for module, parts in files.by_module(_KEY, sites).items():
        site = sites[module]
        rows[site] = _entries(module, parts, length, _inner(target, site.stack, site.name))
    for module, site in sites.items():
        if site not in rows:
            raise missing(f"{module}.prefix_key")
    prefixes = [Prefix(stack, name, _stacked(rows, stack, name, target)) for stack, name in wanted]
    return Contents(prefixes=tuple(prefixes))


def read_prefix_tuning(files: AdapterFiles, target: Target) -> Contents:
    """Return PEFT's prefix of the decoder's self-attention.

    `prompt_embeddings` is `(length, 2 * num_layers * width)`. For an encoder-decoder PEFT lays
    these vectors out twice, end to end, and gives every decoder layer the next four: a key, a
    value, and two for the cross-attention, which it then drops. So layer i has vectors 4 i and
    4 i + 1, counted around the end: with an even number of layers half of the vectors never act.
    The target's position embeddings start behind the prefix.
    """
    files.refuse(("modules_to_save",), "prefix tuning")
    _check_prefix_tuning(files, target)
    length, layers = _length(files, "num_virtual_tokens", target), int(files.config["num_layers"])
    for name in files.tensors:
        if name != _PEFT_TENSOR:
            raise unbound(name)
    if _PEFT_TENSOR not in files.tensors:
        raise missing(_PEFT_TENSOR)
    embeddings = files.tensors[_PEFT_TENSOR]
    inner = _inner(target, "decoder", "self_attn")
    check_shape(_PEFT_TENSOR, embeddings, (length, 2 * layers * inner))
    split = embeddings.view(length, 2 * layers, inner)
    own = [
        torch.cat([split[:, 4 * layer % (2 * layers)], split[:, (4 * layer + 1) % (2 * layers)]], 1)
        for layer in range(target.architecture.decoder_layers)
    ]
    rows = torch.stack(own).to(target.dtype)
    return Contents(prefixes=(Prefix("decoder", "self_attn", rows, shifts=True),))


def _length(files: AdapterFiles, option: str, target: Target) -> int:
    if target.architecture.relative is not None:
        raise IncompatibleAdapterError(
            f"prefixes are not served on {target.architecture.family}, whose attention goes by "
            "distance, which a prefix has none of; train a bottleneck or LoRA instead",
            field="peft_type",
        )
    length = files.whole_number(option)
    limit = target.architecture.max_positions
    if length >= limit:
        raise IncompatibleAdapterError(
            f"{option} is {length}, the base has {limit} positions; train a prefix under that",
            field=option,
        )
    return length


def _attentions(files: AdapterFiles) -> list[str]:
    found = files.config.get("attentions")
    if not isinstance(found, list) or not found or set(map(str, found)) - _ATTENTIONS.keys():
        raise IncompatibleAdapterError(
            f"attentions is {found!r}, expected some of {', '.join(_ATTENTIONS)}",
            field="attentions",
        )
    return [name for name in _ATTENTIONS if name in found]


def _inner(target: Target, stack: Stack, name: str) -> int:
    return target.architecture.linear_shape(stack, f"{name}.k")[0]


def _entries(module: str, parts: dict[str, Tensor], length: int, inner: int) -> Tensor:
    """Return `(length, 2 * inner)` of one attention."""
    for part in ("key", "value"):
        name = f"{module}.prefix_{part}"
        if part not in parts:
            raise missing(name)
        check_shape(name, parts[part], (length, inner))
    return torch.cat([parts["key"], parts["value"]], dim=1)


def _stacked(rows: dict[Site, Tensor], stack: Stack, name: str, target: Target) -> Tensor:
    layers = range(target.architecture.layers(stack))
    return torch.stack([rows[Site(stack, layer, name)] for layer in layers]).to(target.dtype)


def _check_prefix_tuning(files: AdapterFiles, target: Target) -> None:
    architecture = target.architecture
    expected = {
        "num_transformer_submodules": 2,
        "num_attention_heads": architecture.decoder_heads,
        "token_dim": _inner(target, "decoder", "self_attn"),
    }
    for option, value in expected.items():
        if files.config.get(option) != value:
            raise IncompatibleAdapterError(
                f"{option} is {files.config.get(option)!r}, this base needs {value}", field=option
            )
    if files.whole_number("num_layers") < architecture.decoder_layers:
        raise IncompatibleAdapterError(
            f"num_layers is {files.config['num_layers']}, the base's decoder has "
            f"{architecture.decoder_layers} layers and each needs a prefix",
            field="num_layers",
        )
