"""Biases that PEFT trains beside a LoRA: its option `bias`, with whole values as it saves them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from torch import Tensor

from hub.engine.readers.files import AdapterFiles, check_shape, missing, unbound
from hub.engine.readers.norms import weights_of_norm
from hub.engine.readers.spelling import PREFIX
from hub.engine.readers.target import Target, vector
from hub.engine.vectors import VectorPart
from hub.errors import IncompatibleAdapterError

CHOICES: Final = ("none", "lora_only", "all")
_KEY: Final = re.compile(r"(?P<module>.+?)(?:\.base_layer)?\.bias")


def split_biases(files: AdapterFiles) -> tuple[AdapterFiles, Mapping[str, Tensor]]:
    """Return the adapter without its biases, and these by module.

    Raises:
        IncompatibleAdapterError: The option is none of PEFT's, or goes with DoRA.
        AdapterBindingError: Two tensors mean the same bias.
    """
    choice = files.config.get("bias", "none")
    if choice not in CHOICES:
        raise IncompatibleAdapterError(
            f"bias is {choice!r:.60}, expected {', '.join(CHOICES)}", field="bias"
        )
    if choice == "none":
        return files, {}
    if files.config.get("use_dora"):
        files.refuse(("bias",), "DoRA")
    biases: dict[str, Tensor] = {}
    rest: dict[str, Tensor] = {}
    for name, tensor in files.tensors.items():
        match = _KEY.fullmatch(name.removeprefix(PREFIX))
        if match is None:
            rest[name] = tensor
        elif match["module"] in biases:
            raise unbound(name)
        else:
            biases[match["module"]] = tensor
    return replace(files, tensors=rest), biases


def read_biases(
    choice: str, biases: Mapping[str, Tensor], adapted: Collection[str], target: Target
) -> list[VectorPart]:
    """Return each bias as a change of the base's.

    Args:
        choice: The option.
        biases: By module.
        adapted: Modules with a LoRA, whose biases alone "lora_only" trains.
        target: The base.

    Raises:
        AdapterBindingError: A bias has no place in the base, or one is missing.
    """
    if choice == "none":
        return []
    norms = () if target.architecture.norm_kind == "rms" else target.norms
    linears = target.linears if target.architecture.biases else ()
    places = {*linears, *norms} if choice == "all" else {*linears} & {*adapted}
    for module in sorted(places - biases.keys()):
        raise missing(f"{module}.bias")
    for module in sorted(biases.keys() - places):
        raise unbound(f"{module}.bias")
    weights = target.weights()
    parts = []
    for module, values in biases.items():
        is_linear = module in target.linears
        site = target.linears[module] if is_linear else target.norms[module]
        if is_linear:
            own = weights.linear(site.stack, site.layer, site.name)[1]
        else:
            own = weights_of_norm(weights, site)[1]
        assert own is not None, "places are those with a bias"
        check_shape(f"{module}.bias", values, tuple(own.shape))
        parts.append(vector(site, "add", values.double() - own.double()))
    return parts
