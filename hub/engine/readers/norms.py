"""Norm tuning: our own, as changes of weight and bias, and PEFT's LN_TUNING (arXiv 2312.11420)."""

from __future__ import annotations

import re
from typing import Final

from torch import Tensor

from hub.engine.architecture import EMBEDDING_NORM, NO_LAYER, Site
from hub.engine.families import Checkpoint
from hub.engine.readers.files import AdapterFiles, check_shape, missing, unbound
from hub.engine.readers.target import Contents, Target, vector
from hub.engine.vectors import VectorPart
from hub.errors import IncompatibleAdapterError

_KEY: Final = re.compile(r"(?P<module>.+)\.(?P<part>norm_(?:weight|bias))")
_PEFT_KEY: Final = re.compile(r"(?P<module>.+)\.ln_tuning_layers\.(?P<part>weight|bias)")
_TRAINS: Final = {"weight": ("norm_weight",), "both": ("norm_weight", "norm_bias")}


def read_norms(files: AdapterFiles, target: Target) -> Contents:
    """Return the changes of each norm's weight and, where trained, of its bias.

    RMS norms have no bias, so "both" is their weight alone.
    """
    files.refuse(("modules_to_save",), "norm tuning")
    train = files.config.get("train")
    if not isinstance(train, str) or train not in _TRAINS:
        raise IncompatibleAdapterError(
            f"train is {train!r}, expected {' or '.join(_TRAINS)}", field="train"
        )
    names = _TRAINS["weight" if target.architecture.norm_kind == "rms" else train]
    vectors: list[VectorPart] = []
    for module, parts in files.by_module(_KEY, target.norms).items():
        site = _bind(target, module, parts, names, "")
        vectors.append(vector(site, "gain", parts["norm_weight"]))
        if "norm_bias" in names:
            vectors.append(vector(site, "add", parts["norm_bias"]))
    return Contents(vectors=tuple(vectors))


def read_ln_tuning(files: AdapterFiles, target: Target) -> Contents:
    """Return PEFT's whole weights and biases as changes of the base's."""
    files.refuse(("modules_to_save",), "LN tuning")
    weights = target.weights()
    vectors: list[VectorPart] = []
    modules = files.by_module(_PEFT_KEY, target.norms)
    files.rules.check(modules, target.norms, "ln_tuning_layers.weight")
    for module, parts in modules.items():
        names = ("weight",) if target.architecture.norm_kind == "rms" else ("weight", "bias")
        site = _bind(target, module, parts, names, "ln_tuning_layers.")
        weight, bias = weights_of_norm(weights, site)
        vectors.append(vector(site, "gain", parts["weight"].double() - weight.double()))
        if bias is not None:
            vectors.append(vector(site, "add", parts["bias"].double() - bias.double()))
    return Contents(vectors=tuple(vectors))


def _bind(
    target: Target, module: str, parts: dict[str, Tensor], names: tuple[str, ...], infix: str
) -> Site:
    for name in names:
        if name not in parts:
            raise missing(f"{module}.{infix}{name}")
    for name, values in parts.items():
        if name not in names:
            raise unbound(f"{module}.{infix}{name}")
        check_shape(f"{module}.{infix}{name}", values, (target.architecture.d_model,))
    return target.norms[module]


def weights_of_norm(weights: Checkpoint, site: Site) -> tuple[Tensor, Tensor | None]:
    """Return a norm's own weight and bias."""
    if site.name == EMBEDDING_NORM:
        return weights.embedding_norm(site.stack)
    return weights.norm(site.stack, None if site.layer == NO_LAYER else site.layer, site.name)
