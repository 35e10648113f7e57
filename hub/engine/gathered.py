"""Adapters as data: every row gathers its own weights, so that a step has no control flow.

A CUDA graph replays the same kernels on the same addresses. What changes from step to step, which
row uses which adapter, must therefore be numbers in fixed buffers. Here each row has an offset
into a page of a bank, and its delta is

    up[offset : offset + R].T @ act(down[offset : offset + R] @ x)

as one batched product over the rows, where R is the largest rank in use, rounded up. Ranks behind
a row's own are masked by replacement. They gather the row's first rank again, never memory that
holds nothing, since zero times NaN is NaN.

The gather copies each row's weights (rows * R * width values read, written and read again), which
is the price for a step without branches. `FloatDeltas` does the same with one product per slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import torch
from torch import Tensor

from hub.engine.activations import activate
from hub.engine.architecture import Stack
from hub.engine.banks import RANK_MULTIPLE, BankKey, Banks, Group, Page, Plan
from hub.engine.deltas import FloatDeltas
from hub.engine.devices import CPU, upload
from hub.engine.linear import Operand

_ACTIVATIONS: Final = frozenset({"", "relu", "gelu"})
_TENSORS: Final = frozenset({"down", "up", "down_bias", "up_bias"})


def gatherable(plan: Plan) -> bool:
    """Return whether all that a plan does can be gathered.

    Whatever is not known here must run as the engine runs it without graphs: an adapter that is
    silently left out would be the worst of errors. Vectors are not known here. Prefixes are in the
    rows' caches, no part of a plan.
    """
    plain = type(plan)(plan.sites)
    if any(getattr(plan, each.name) != getattr(plain, each.name) for each in fields(plan)):
        return False
    return all(
        _known(key, group)
        for work in plan.sites.values()
        for key, groups in work
        for group in groups
    )


def _known(key: BankKey, group: Group) -> bool:
    return (
        type(key) is BankKey
        and type(group) is Group
        and key.activation in _ACTIVATIONS
        and group.page.tensors.keys() <= _TENSORS
    )


class GatheredDeltas(FloatDeltas):
    """One batched product for the rows of all slots of a page.

    It reads groups that `AdapterBuffers` makes: of all rows in order, with `low` 0, `high` the
    common rank R, and a mask over each row's own R ranks. It packs as `FloatDeltas` does, so both
    run on the same banks.
    """

    def add(self, key: BankKey, layer: int, group: Group, x: Operand, out: Tensor) -> None:
        """Add to every row; zeros to rows without an adapter in the group's page."""
        out += self._gathered(key, layer, group, x)

    def _gathered(self, key: BankKey, layer: int, group: Group, x: Operand) -> Tensor:
        assert group.mask is not None
        weights, rank = group.page.tensors, group.high
        places = rank_places(group.bias_index, group.mask)  # (rows, R)
        down = _gather(weights["down"][layer], places)  # (rows, R, in)
        z = torch.bmm(down, x.values[: x.rows].unsqueeze(2)).squeeze(2)
        if key.biased:
            z = z + weights["down_bias"][layer].index_select(0, places.flatten()).view(-1, rank)
        z = activate(z, key.activation).masked_fill(group.mask, 0.0)
        up = _gather(weights["up"][layer], places)  # (rows, R, out)
        delta = torch.bmm(z.unsqueeze(1), up).squeeze(1)
        if key.biased:
            bias = weights["up_bias"][layer].index_select(0, group.bias_index)
            # A row's first rank is masked where the row has no adapter here.
            delta = delta + bias.masked_fill(group.mask[:, :1], 0.0)
        return delta


def rank_places(bias_index: Tensor, mask: Tensor) -> Tensor:
    """Return the rank rows that each row reads, `(rows, R)`; masked ones repeat its first."""
    steps = torch.arange(mask.shape[1], device=mask.device).masked_fill(mask, 0)
    return (bias_index * RANK_MULTIPLE).unsqueeze(1) + steps


def _gather(weights: Tensor, places: Tensor) -> Tensor:
    return weights.index_select(0, places.flatten()).view(*places.shape, weights.shape[1])


@dataclass(frozen=True, slots=True)
class PageUse:
    """A page of a bank that a step reads, and up to which rank."""

    key: BankKey
    page: Page
    rank: int


@dataclass(frozen=True, slots=True)
class AdapterShape:
    """What two steps must share to run the same kernels for their adapters."""

    uses: tuple[PageUse, ...] = ()

    @classmethod
    def of(cls, banks: Banks, slots: Sequence[int]) -> AdapterShape:
        """Return the shape of a step whose rows use these slots."""
        wanted = set(slots)
        return cls(
            tuple(
                PageUse(key, page, _common_rank(page, wanted)) for key, page in banks.pages(wanted)
            )
        )

    @property
    def tensors(self) -> list[Tensor]:
        """Return every tensor that a graph of this shape reads adapters from."""
        return [tensor for use in self.uses for tensor in use.page.tensors.values()]


def _common_rank(page: Page, slots: set[int]) -> int:
    """Return the largest rank of these slots, rounded up to a power of two that fits the page."""
    largest = max(high - low for slot, (low, high) in page.used.items() if slot in slots)
    return min(page.capacity, max(RANK_MULTIPLE, 1 << (largest - 1).bit_length()))


class AdapterBuffers:
    """A plan whose numbers are replaced in place, for a fixed number of rows."""

    def __init__(self, shape: AdapterShape, rows: int, device: torch.device = CPU) -> None:
        """Allocate; `fill` must come before the first use."""
        self._shape = shape
        self._rows = rows
        self._device = device
        self.plan = Plan({})
        self._groups = [self._group(use) for use in shape.uses]
        for use, group in zip(shape.uses, self._groups, strict=True):
            sites: list[tuple[BankKey, list[Group]]]
            sites = self.plan.sites.setdefault((use.key.stack, use.key.site), [])
            _groups_of(sites, use.key).append(group)

    def fill(self, slot_of_row: Sequence[int]) -> None:
        """Write which slot each row uses; rows behind these are plain base rows."""
        slots = [*slot_of_row, *([0] * (self._rows - len(slot_of_row)))]
        for use, group in zip(self._shape.uses, self._groups, strict=True):
            index, mask = page_numbers(use, slots)
            assert group.mask is not None
            group.bias_index.copy_(upload(index, self._device))
            group.mask.copy_(upload(mask, self._device))

    def sites(self, stack: Stack) -> frozenset[str]:
        """Return the names of the sites of a stack that have work."""
        return frozenset(site for of, site in self.plan.sites if of == stack)

    def _group(self, use: PageUse) -> Group:
        return Group(
            page=use.page,
            low=0,
            high=use.rank,
            rows=None,
            count=self._rows,
            mask=torch.ones(self._rows, use.rank, dtype=torch.bool, device=self._device),
            bias_index=torch.zeros(self._rows, dtype=torch.int64, device=self._device),
        )


def page_numbers(use: PageUse, slots: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return each row's `bias_index (rows,)` in a page and its mask `(rows, R)`.

    A row without an adapter in the page points at some adapter that is there, fully masked.
    """
    used = use.page.used
    anywhere = min(used.values())[0]
    intervals = [used.get(slot, (anywhere, anywhere)) for slot in slots]
    offsets = torch.tensor([low for low, _ in intervals])
    ranks = torch.tensor([high - low for low, high in intervals])
    return offsets // RANK_MULTIPLE, torch.arange(use.rank) >= ranks.unsqueeze(1)


def _groups_of(sites: list[tuple[BankKey, list[Group]]], key: BankKey) -> list[Group]:
    for known, groups in sites:
        if known == key:
            return groups
    sites.append((key, []))
    return sites[-1][1]
