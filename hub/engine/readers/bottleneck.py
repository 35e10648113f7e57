"""Bottlenecks behind layers (Bapna and Firat, 2019) or sub-layers (Houlsby et al., 2019)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from torch import Tensor

from hub.engine.architecture import Site
from hub.engine.banks import BankKey
from hub.engine.readers.files import AdapterFiles, check_shape, missing
from hub.engine.readers.target import Contents, Delta, Target
from hub.errors import AdapterBindingError, IncompatibleAdapterError

_KEY: Final = re.compile(r"(?P<module>.+)\.bottleneck_(?P<part>(?:norm|down|up)\.(?:weight|bias))")


def read_bottleneck(files: AdapterFiles, target: Target) -> Contents:
    """Return one delta for every layer or sub-layer."""
    width = files.whole_number("width")
    _check_choices(files)
    files.refuse(("modules_to_save",), "a bottleneck")
    config = files.config
    sites = target.layers if config["placement"] == "layer" else target.sublayers
    found: dict[BankKey, dict[Site, Delta]] = {}
    for module, parts in files.by_module(_KEY, sites).items():
        site = sites[module]
        key = BankKey(site.stack, site.name, config["activation"], config["norm"], biased=True)
        delta = _fold_norm(module, parts, width, target.architecture.d_model, key.normed)
        found.setdefault(key, {})[site] = delta
    return Contents(parts=target.pack(found))


def _fold_norm(
    module: str, parts: Mapping[str, Tensor], width: int, d_model: int, normed: bool
) -> Delta:
    """Check one bottleneck and fold the norm's scale and shift into its down projection.

    `down(g * x + b) + c` is `(down * g) x + (down b + c)`: the normalised x no longer depends
    on the adapter, so rows of different adapters share it.
    """
    shapes = {
        "down.weight": (width, d_model), "down.bias": (width,),
        "up.weight": (d_model, width), "up.bias": (d_model,),
    }  # fmt: skip
    if normed:
        shapes |= {"norm.weight": (d_model,), "norm.bias": (d_model,)}
    for name in sorted(parts.keys() | shapes.keys()):
        where = f"{module}.bottleneck_{name}"
        if name not in parts:
            raise missing(where)
        if name not in shapes:
            raise AdapterBindingError(f"tensor {where!r} binds to nothing: norm is false")
        check_shape(where, parts[name], shapes[name])
    down, bias = parts["down.weight"].double(), parts["down.bias"].double()
    if normed:
        bias = bias + down @ parts["norm.bias"].double()
        down = down * parts["norm.weight"].double()
    return Delta(down.float(), parts["up.weight"].t(), bias.float(), parts["up.bias"])


def _check_choices(files: AdapterFiles) -> None:
    allowed = {
        "activation": ("relu", "gelu"), "norm": (True, False), "placement": ("layer", "sublayer"),
    }  # fmt: skip
    for name, values in allowed.items():
        if files.config.get(name) not in values:
            raise IncompatibleAdapterError(
                f"a bottleneck with {name}={files.config.get(name)!r} is not served; "
                f"use {' or '.join(map(str, values))}",
                field=name,
            )
