"""(IA)³ (arXiv 2205.05638), as PEFT saves it: factors on outputs or on inputs of linears."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from torch import Tensor

from hub.engine.architecture import CROSS_INPUT, FEED_FORWARD_GATE, SELF_INPUT, Site
from hub.engine.readers.files import AdapterFiles, check_matrix, check_shape
from hub.engine.readers.target import Contents, Target, vector
from hub.engine.vectors import VectorPart
from hub.errors import IncompatibleAdapterError

_KEY: Final = re.compile(r"(?P<module>.+)\.(?P<part>ia3_l)")
_SHARED: Final[Mapping[str, str]] = {
    "self_attn.q": SELF_INPUT, "self_attn.k": SELF_INPUT, "self_attn.v": SELF_INPUT,
    "cross_attn.k": CROSS_INPUT, "cross_attn.v": CROSS_INPUT,
    "fc1": "fc1", FEED_FORWARD_GATE: "fc1",
}  # fmt: skip


def read_ia3(files: AdapterFiles, target: Target) -> Contents:
    """Return factors of outputs, bias included, and of inputs where PEFT scales those.

    A vector of shape `(1, in)` scales the input (PEFT's `feedforward_modules`), one of
    `(out, 1)` the output.
    """
    files.refuse(("modules_to_save", "fan_in_fan_out"), "(IA)³")
    vectors: list[VectorPart] = []
    inputs: dict[Site, Tensor] = {}
    modules = files.by_module(_KEY, target.linears)
    files.rules.check(modules, target.linears, "ia3_l")
    for module, parts in modules.items():
        name, values = f"{module}.ia3_l", parts["ia3_l"]
        site = target.linears[module]
        out, width = target.linear_shape(site)
        check_matrix(name, values)
        if _scales_input(files, module, values):
            check_shape(name, values, (1, width))
            inputs[site] = values.flatten()
        else:
            check_shape(name, values, (out, 1))
            vectors.append(vector(site, "mul", values.flatten()))
    return Contents(vectors=(*vectors, *_scale_inputs(inputs, target)))


def _scales_input(files: AdapterFiles, module: str, values: Tensor) -> bool:
    """Return whether PEFT scales the input of a module; without the option, by the vector."""
    if files.config.get("feedforward_modules") is None:
        return values.shape[0] == 1
    return files.rules.fits("feedforward_modules", module)


def _scale_inputs(inputs: Mapping[Site, Tensor], target: Target) -> list[VectorPart]:
    """Bind factors of inputs; linears that read one input must agree on it."""
    vectors: list[VectorPart] = []
    shared: dict[Site, Tensor] = {}
    for site, values in inputs.items():
        if site.name in _SHARED:
            readers = [
                other
                for other in target.linears.values()
                if shared_input(other) == shared_input(site)
            ]
            for other in readers:
                if other not in inputs or not bool((inputs[other] == values).all()):
                    raise _refused(site, other)
            shared[shared_input(site)] = values
        else:
            vectors.append(vector(site, "input", values))
    return [*vectors, *(vector(site, "input", values) for site, values in shared.items())]


def shared_input(site: Site) -> Site:
    """Return the address of what a linear reads; the encoder's output is one for all layers."""
    name = _SHARED.get(site.name, site.name)
    return Site(site.stack, 0 if name == CROSS_INPUT else site.layer, name)


def _refused(site: Site, other: Site) -> IncompatibleAdapterError:
    return IncompatibleAdapterError(
        f"(IA)³ scales the input of {site}, which {other} reads as well but with another factor "
        "or none; scale their outputs instead (leave them out of feedforward_modules)",
        field="feedforward_modules",
    )
