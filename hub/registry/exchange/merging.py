"""An adapter's changes added to the weights of its base.

Adapters are read by the engine's own readers, so a merged base computes what a slot would:
low-rank deltas are products added to a weight, factors and shifts go into rows, columns and biases,
and rows of the token table take the place of the base's.
A bottleneck has an activation and a prefix adds positions: no weights of the base say that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hub.errors import IncompatibleAdapterError

if TYPE_CHECKING:
    from torch import Tensor

    from hub.bases import Base
    from hub.engine.adapters import HostAdapter
    from hub.engine.architecture import Site
    from hub.engine.banks import BankPart
    from hub.engine.readers.target import Target
    from hub.engine.token_rows import TokenRows
    from hub.engine.vectors import VectorPart

INSTEAD: Final = "export it with --to peft, or serve it in a slot"


def merged_tensors(base: Base, folder: Path) -> dict[str, Tensor]:
    """Return every tensor of a base in float32, by its canonical name, an adapter merged in.

    Sums are made in float64.

    Raises:
        IncompatibleAdapterError: Adapters of this kind do not merge; names it.
        AdapterBindingError: A tensor does not bind to the base.
    """
    from hub.bases.values import read_values

    adapter, target = _read(base, folder)
    check_mergeable(adapter)
    tensors = {name: read_values(place).float() for name, place in base.tensors.items()}
    paths = {site: path for path, site in (*target.linears.items(), *target.norms.items())}
    _apply_vectors(tensors, adapter.vectors, target, paths)
    for part in adapter.parts:
        _add_deltas(tensors, part, paths)
    if adapter.token_rows is not None:
        _replace_rows(tensors, adapter.token_rows, target)
    return tensors


def check_mergeable(adapter: HostAdapter) -> None:
    """Check that an adapter is a change of weights.

    Raises:
        IncompatibleAdapterError: It is more than that.
    """
    if adapter.prefixes:
        what = "a prefix puts keys and values in front of attentions, which no weight says"
    elif any(part.key.activation or part.key.biased for part in adapter.parts):
        what = "a bottleneck has an activation between its two products, which no weight says"
    else:
        return
    raise IncompatibleAdapterError(
        f"adapters of kind {adapter.kind.upper()} do not merge into a base: {what}; {INSTEAD}",
        field="peft_type",
    )


def read_deltas(base: Base, folder: Path) -> tuple[HostAdapter, dict[str, tuple[Tensor, Tensor]]]:
    """Return an adapter as the engine reads it, and its low-rank deltas by module.

    A delta is A `(rank, in)` and B `(out, rank)` with every factor in them.
    """
    from hub.engine.architecture import Site

    adapter, target = _read(base, folder)
    paths = {site: path for path, site in target.linears.items()}
    deltas = {}
    for part in adapter.parts:
        for layer in range(part.down.shape[0]):
            if bool(part.down[layer].any()):  # else a layer without the adapter
                path = paths[Site(part.key.stack, layer, part.key.site)]
                deltas[path] = part.down[layer], part.up[layer].t()
    return adapter, deltas


def _read(base: Base, folder: Path) -> tuple[HostAdapter, Target]:
    import torch

    from hub.engine.adapters import AdapterReader
    from hub.engine.deltas import FloatDeltas
    from hub.engine.families import Checkpoint, find_family

    family = find_family(base.config)
    reader = AdapterReader(
        family,
        base.architecture,
        FloatDeltas(torch.float32),
        base.digest,
        weights=lambda: Checkpoint(base, family),
    )
    return reader.read(folder), reader.target


def _add_deltas(tensors: dict[str, Tensor], part: BankPart, paths: Mapping[Site, str]) -> None:
    """Add `up^T down` of every layer to the weights of one site."""
    from hub.engine.architecture import Site

    for layer in range(part.down.shape[0]):
        down, up = part.down[layer].double(), part.up[layer].double()
        if not bool(down.any()):  # a layer without the adapter
            continue
        name = f"{paths[Site(part.key.stack, layer, part.key.site)]}.weight"
        tensors[name] = (tensors[name].double() + up.t() @ down).float()


def _replace_rows(tensors: dict[str, Tensor], rows: TokenRows, target: Target) -> None:
    """Put an adapter's rows into the token table, under each name that the base has it by."""
    for table in target.tables:
        name = f"{table}.weight"
        if name in tensors:
            tensors[name] = tensors[name].index_copy(0, rows.ids, rows.values)


def _apply_vectors(
    tensors: dict[str, Tensor],
    vectors: Iterable[VectorPart],
    target: Target,
    paths: Mapping[Site, str],
) -> None:
    """Multiply before adding: a step computes `mul * (W (input * x) + b) + add`."""
    order = {"input": 0, "mul": 1, "gain": 2, "add": 3}
    for part in sorted(vectors, key=lambda one: order[one.key.operation]):
        values, operation = part.values.double(), part.key.operation
        if operation == "input":
            for site in _readers_of(part.key.site, target):
                _scale(tensors, f"{paths[site]}.weight", values[None, :])
            continue
        path = paths[part.key.site]
        if operation == "mul":
            _scale(tensors, f"{path}.weight", values[:, None])
            if f"{path}.bias" in tensors:
                _scale(tensors, f"{path}.bias", values)
        else:
            name = f"{path}.{'weight' if operation == 'gain' else 'bias'}"
            if name not in tensors:
                raise IncompatibleAdapterError(
                    f"the adapter shifts the output of {path}, which has no bias in this base to "
                    f"merge it into; {INSTEAD}"
                )
            tensors[name] = (tensors[name].double() + values).float()


def _readers_of(site: Site, target: Target) -> list[Site]:
    """Return the linears that read an input; several do where the address is a shared one."""
    from hub.engine.readers.ia3 import shared_input

    return [one for one in target.linears.values() if shared_input(one) == site]


def _scale(tensors: dict[str, Tensor], name: str, factor: Tensor) -> None:
    tensors[name] = (tensors[name].double() * factor).float()
