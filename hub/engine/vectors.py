"""Adapters that are vectors: factors and shifts, one row per slot, for the rows that have them.

(IA)³, BitFit, norm tuning and DoRA's magnitudes act element by element on something the base
computes anyway. Each place where that happens has a table with one row per slot, in float32;
row 0 is the identity. A step gathers the rows of its slots and touches no other row of the
batch: a row without such an adapter keeps its exact bits.

Every operation is element-wise and one of its own (no fused multiply-add), so that a value does
not depend on where in a tensor it lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from hub.engine.architecture import Site, Stack
from hub.engine.devices import CPU, upload
from hub.engine.linear import Operand, Precision

Operation = Literal["input", "mul", "add", "gain"]
"""What a vector does at its site.

- input: multiplies what the site's linear reads;
- mul: multiplies the site's output, its bias included;
- add: is added to the site's output;
- gain: times the normalised input, is added to a norm's output: a change of the norm's weight.
"""

_ADJUSTMENTS: tuple[Operation, ...] = ("mul", "add")
_IDENTITY = {"input": 1.0, "mul": 1.0, "add": 0.0, "gain": 0.0}


@dataclass(frozen=True, slots=True, order=True)
class VectorKey:
    """The address of a table: a site of one layer, and what happens there."""

    site: Site
    operation: Operation


@dataclass(frozen=True, slots=True)
class VectorPart:
    """One adapter's vector for one table: `values (width,)`, float32."""

    key: VectorKey
    values: Tensor

    @property
    def nbytes(self) -> int:
        """Return the bytes that placing this part copies."""
        return self.values.nbytes


@dataclass(frozen=True, slots=True)
class VectorGroup:
    """The rows of a step that a table acts on.

    Attributes:
        table: `(slots + 1, width)`.
        rows: `(n,)` indices into the step's rows, None for all of them in order.
        slots: `(n,)` the slot of each of these rows.
    """

    table: Tensor
    rows: Tensor | None
    slots: Tensor

    def values(self) -> Tensor:
        """Return each row's vector, `(n, width)`."""
        return self.table.index_select(0, self.slots)

    def of(self, x: Tensor) -> Tensor:
        """Return the group's rows of `x (rows, width)`."""
        return x if self.rows is None else x.index_select(0, self.rows)

    def put(self, out: Tensor, own: Tensor) -> None:
        """Write the group's rows back, in place."""
        if self.rows is None:
            out.copy_(own)
        else:
            out.index_copy_(0, self.rows, own.to(out.dtype))


@dataclass(frozen=True)
class VectorPlan:
    """How the rows of a step find their vectors; made once per composition."""

    groups: dict[tuple[Operation, Stack, str, int], VectorGroup] = field(default_factory=dict)

    def at(self, operation: Operation, stack: Stack, site: str, layer: int) -> VectorGroup | None:
        """Return the rows to treat at a site, None where there are none."""
        return self.groups.get((operation, stack, site, layer))


EMPTY_VECTORS = VectorPlan()


class VectorTables:
    """Every table of an engine. A table is allocated when first written and never moves."""

    def __init__(self, slots: int, device: torch.device = CPU) -> None:
        """Make room for slots 1 to `slots` in every table to come, on a device."""
        self._slots = slots
        self._device = device
        self._tables: dict[VectorKey, Tensor] = {}
        self._placed: dict[int, tuple[VectorKey, ...]] = {}

    def place(self, slot: int, parts: Sequence[VectorPart]) -> None:
        """Copy an adapter's vectors into a slot that was cleared before."""
        for part in parts:
            self._table(part)[slot] = part.values
        self._placed[slot] = tuple(part.key for part in parts)

    def clear(self, slot: int) -> None:
        """Free a slot, and the tables that nothing uses any more."""
        freed = self._placed.pop(slot, ())
        kept = {key for keys in self._placed.values() for key in keys} if freed else set()
        for key in freed:
            if key not in kept:
                del self._tables[key]

    def plan(self, slot_of_row: Sequence[int]) -> VectorPlan:
        """Find, for every table, the rows whose adapter is in it."""
        members: dict[VectorKey, list[int]] = {}
        for slot in sorted(set(slot_of_row)):
            for key in self._placed.get(slot, ()):
                members.setdefault(key, []).append(slot)
        found: dict[tuple[int, ...], tuple[Tensor | None, Tensor]] = {}
        plan = VectorPlan({})
        for key, slots in members.items():
            chosen, table = tuple(slots), self._tables[key]
            if chosen not in found:
                found[chosen] = _rows_of(chosen, slot_of_row, self._device)
            site = key.site
            address = (key.operation, site.stack, site.name, site.layer)
            plan.groups[address] = VectorGroup(table, *found[chosen])
        return plan

    def _table(self, part: VectorPart) -> Tensor:
        table = self._tables.get(part.key)
        if table is None:
            shape = (self._slots + 1, *part.values.shape)
            # The system backs a row with memory where a slot is written.
            table = torch.empty(shape, dtype=torch.float32, device=self._device)
            table[0] = _IDENTITY[part.key.operation]
            self._tables[part.key] = table
        return table


def _rows_of(
    slots: Iterable[int], slot_of_row: Sequence[int], device: torch.device
) -> tuple[Tensor | None, Tensor]:
    wanted = set(slots)
    rows = [row for row, slot in enumerate(slot_of_row) if slot in wanted]
    own = upload(torch.tensor([slot_of_row[row] for row in rows]), device)
    everything = len(rows) == len(slot_of_row)
    return None if everything else upload(torch.tensor(rows), device), own


@dataclass(frozen=True, slots=True)
class NormSites:
    """The address of a norm inside a layer, and of what reads its output."""

    norm: str
    readers: str


class Normaliser(Protocol):
    """A norm with weights, and the same without them."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return `x (rows, width)` normalised, scaled and shifted."""
        ...

    def unit(self, x: Tensor) -> Tensor:
        """Return `x (rows, width)` normalised only."""
        ...


@dataclass(frozen=True, slots=True)
class StepVectors:
    """The vector adapters of one step, site by site."""

    plan: VectorPlan
    precision: Precision

    def scale_input(
        self, stack: Stack, site: str, layer: int, x: Tensor, prepared: Operand
    ) -> Operand:
        """Return a linear's prepared input with the rows scaled whose adapter says so.

        Args:
            stack: Where the linear is.
            site: The linear, or the name of what several linears read.
            layer: Its layer.
            x: `(rows, in)`; stays as it is, since it may be a residual, too.
            prepared: `x` as the precision prepared it.
        """
        group = self.plan.at("input", stack, site, layer)
        if group is None:
            return prepared
        return self._replace(prepared, group, group.of(x) * group.values())

    def amend(
        self, stack: Stack, sites: NormSites, layer: int, norm: Normaliser, x: Tensor,
        prepared: Operand,
    ) -> Operand:  # fmt: skip
        """Return `norm(x)`, prepared for the linears behind it, with each row's own vectors.

        Args:
            stack: Where the norm is.
            sites: The norm and what reads its output.
            layer: Its layer.
            norm: With the base's weights.
            x: `(rows, width)`, what the norm reads.
            prepared: `norm(x)` as the precision prepared it, without any adapter.
        """
        found = (self.plan.at(name, stack, sites.norm, layer) for name in ("gain", "mul", "add"))
        groups = [group for group in found if group is not None]
        if groups:
            normalised = self.normalise(stack, sites.norm, layer, norm, x)
            for group in groups:
                prepared = self._replace(prepared, group, group.of(normalised))
        elif self.plan.at("input", stack, sites.readers, layer) is not None:
            normalised = norm(x)
        else:
            return prepared
        return self.scale_input(stack, sites.readers, layer, normalised, prepared)

    def adjusts(self, stack: Stack, site: str, layer: int) -> bool:
        """Return whether `adjust` would change any row."""
        found = (self.plan.at(operation, stack, site, layer) for operation in _ADJUSTMENTS)
        return any(group is not None for group in found)

    def adjust(self, stack: Stack, site: str, layer: int, out: Tensor) -> None:
        """Scale and shift an output `(rows, out)`, bias included, in place."""
        group = self.plan.at("mul", stack, site, layer)
        if group is not None:
            group.put(out, group.of(out) * group.values())
        group = self.plan.at("add", stack, site, layer)
        if group is not None:
            group.put(out, group.of(out) + group.values())

    def normalise(self, stack: Stack, site: str, layer: int, norm: Normaliser, x: Tensor) -> Tensor:
        """Return `norm(x)` of `(rows, width)`, with each row's own weight and bias."""
        out = norm(x)
        group = self.plan.at("gain", stack, site, layer)
        if group is not None:
            change = norm.unit(group.of(x)) * group.values()
            group.put(out, group.of(out) + change)
        self.adjust(stack, site, layer, out)
        return out

    def _replace(self, prepared: Operand, group: VectorGroup, rows: Tensor) -> Operand:
        """Return an operand with the group's rows prepared anew; the others keep their bits."""
        own = self.precision.operand(rows.to(self.precision.hidden_dtype))
        if group.rows is None:
            return own
        values = prepared.values.index_copy(0, group.rows, own.values[: own.rows])
        scale = prepared.scale
        if scale is not None and own.scale is not None:
            scale = scale.index_copy(0, group.rows, own.scale)
        return Operand(values, scale, prepared.rows)
