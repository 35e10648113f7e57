"""Adapter banks: stacked adapter weights per site, one interval of ranks per slot.

Low-rank and bottleneck adapters are one computation, `up(act(down(x)))`, so one
`Bank` holds both. A bank belongs to a site name in a stack and keeps the weights
of all layers; an adapter in a slot owns an interval of its rank rows, rounded up
to a multiple of 8, so it costs its own size and not the largest.

Pages never move once allocated: placing an adapter copies that adapter's bytes
and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hub.engine.architecture import Architecture, Stack
from hub.engine.devices import CPU, moved, upload
from hub.engine.native import AdapterRows, AdapterWeights
from hub.engine.prefixes import NO_PREFIXES, Prefix, SlotPrefixes
from hub.engine.shortlists import Shortlist
from hub.engine.token_rows import SlotTokens, TokenGroup, group_rows
from hub.engine.vectors import EMPTY_VECTORS, VectorPart, VectorPlan, VectorTables

RANK_MULTIPLE = 8
PAGE_RANKS = 2048
"""Rank rows of a page. The system backs a page with memory where it is written."""


@dataclass(frozen=True, slots=True, order=True)
class BankKey:
    """What adapters must share to lie in one bank.

    Attributes:
        site: Name of the site inside a layer.
        activation: Between down and up: "relu", "gelu", or "" for none (low-rank).
        normed: The input is normalised first; the norm's affine part is folded into down.
        biased: Down and up have biases.
    """

    stack: Stack
    site: str
    activation: str = ""
    normed: bool = False
    biased: bool = False


@dataclass(frozen=True)
class BankPart:
    """One adapter's weights for one bank, all layers, ready to be copied in.

    Attributes:
        down: `(layers, rank, in)` in the bank's dtype.
        up: `(layers, rank, out)`.
        rank_scale: `(layers, rank)` float32, int8 banks only: scales of down, and of up too
            where nothing comes between them.
        up_scale: `(layers, rank)` float32, int8 banks with an activation.
        down_bias: `(layers, rank)` where biased.
        up_bias: `(layers, out)` where biased.
        down_sum: `(layers, rank)` int32, int8 banks only: sums of down over its input.
    """

    key: BankKey
    down: Tensor
    up: Tensor
    rank_scale: Tensor | None = None
    up_scale: Tensor | None = None
    down_bias: Tensor | None = None
    up_bias: Tensor | None = None
    down_sum: Tensor | None = None

    @property
    def rank(self) -> int:
        """Return the number of rank rows, padding included."""
        return self.down.shape[1]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that are there, by name."""
        found = {name: getattr(self, name) for name in _PART_TENSORS}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    @property
    def nbytes(self) -> int:
        """Return the bytes that placing this part copies."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


_PART_TENSORS = ("down", "up", "rank_scale", "up_scale", "down_bias", "up_bias", "down_sum")


class Page:
    """Rank rows of one bank, allocated once, shared by neighbouring slots."""

    def __init__(self, like: BankPart, capacity: int, device: torch.device = CPU) -> None:
        """Reserve `capacity` rank rows, shaped like a first part."""
        self.capacity = capacity
        self.device = device
        self.used: dict[int, tuple[int, int]] = {}
        self._layers: list[AdapterWeights] = []
        self.tensors = {
            name: torch.empty(
                _page_shape(name, tensor, capacity), dtype=tensor.dtype, device=device
            )
            for name, tensor in like.tensors.items()
        }

    def layer(self, index: int) -> AdapterWeights:
        """Return where one layer lies, for the compiled kernels; pages never move."""
        if not self._layers:
            layers = len(self.tensors["down"])
            self._layers = [AdapterWeights.of(self.tensors, one) for one in range(layers)]
        return self._layers[index]

    def find_room(self, rank: int) -> int | None:
        """Return the first free offset that takes `rank` rows, None if there is none."""
        offset = 0
        for low, high in sorted(self.used.values()):
            if low - offset >= rank:
                return offset
            offset = high
        return offset if self.capacity - offset >= rank else None

    def write(self, slot: int, offset: int, part: BankPart) -> None:
        """Copy a part's weights into the interval that starts at `offset`."""
        self.used[slot] = (offset, offset + part.rank)
        for name, tensor in part.tensors.items():
            if name == "up_bias":
                self.tensors[name][:, offset // RANK_MULTIPLE] = tensor
            else:
                self.tensors[name][:, offset : offset + part.rank] = tensor


def _page_shape(name: str, tensor: Tensor, capacity: int) -> tuple[int, ...]:
    if name == "up_bias":
        return (tensor.shape[0], capacity // RANK_MULTIPLE, tensor.shape[1])
    return (tensor.shape[0], capacity, *tensor.shape[2:])


@dataclass
class Bank:
    """All adapters of one key, in pages."""

    key: BankKey
    pages: list[Page] = field(default_factory=list)
    device: torch.device = CPU

    def place(self, slot: int, part: BankPart) -> None:
        """Copy a part into the first page with room, or into a new page."""
        for page in self.pages:
            offset = page.find_room(part.rank)
            if offset is not None:
                page.write(slot, offset, part)
                return
        page = Page(part, max(part.rank, PAGE_RANKS), self.device)
        page.write(slot, 0, part)
        self.pages.append(page)

    def clear(self, slot: int) -> None:
        """Free a slot's interval, and pages that hold nothing more, but for the first of those.

        An empty page is kept for the next adapter: its memory is there already.
        """
        for page in self.pages:
            page.used.pop(slot, None)
        empty = [page for page in self.pages if not page.used]
        self.pages = [page for page in self.pages if page.used] + empty[:1]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of a step that one pair of products serves.

    Attributes:
        low: First rank row of the page's interval.
        high: One past the last.
        rows: `(n,)` indices into the step's rows, None for all of them in order.
        count: Number of rows.
        mask: `(n, high - low)` True where a row must not see a rank row; None where the
            interval belongs to one slot.
        bias_index: `(n,)` each row's entry in the page's up_bias.
        adapted: Each row with its own interval; None where no compiled kernel reads it.
    """

    page: Page
    low: int
    high: int
    rows: Tensor | None
    count: int
    mask: Tensor | None
    bias_index: Tensor
    adapted: AdapterRows | None = None


@dataclass(frozen=True)
class Plan:
    """How the rows of a step find their adapters; made once per composition.

    Attributes:
        sites: Groups of every bank that has work, by stack and site.
        vectors: Rows of every vector table that has work.
        tokens: Rows of every adapter that has rows of the token table.
    """

    sites: dict[tuple[Stack, str], list[tuple[BankKey, list[Group]]]]
    vectors: VectorPlan = EMPTY_VECTORS
    tokens: tuple[TokenGroup, ...] = ()

    def at(self, stack: Stack, site: str) -> Sequence[tuple[BankKey, list[Group]]]:
        """Return the work at a site."""
        return self.sites.get((stack, site), ())


EMPTY_PLAN = Plan({})


class Banks:
    """Every bank of an engine, and which adapter lies in which slot."""

    def __init__(
        self,
        architecture: Architecture,
        slots: int,
        merge_macs: int | None,
        device: torch.device = CPU,
    ) -> None:
        """Make room for slots 1 to `slots`.

        Args:
            architecture: Shape of the base.
            slots: Number of slots; slot 0 is the plain base and takes no room.
            merge_macs: Neighbouring slots share one product while `rows * ranks * width`
                stays under this; 0 where rows of different slots must not share; None where
                every row finds its own interval and all of a page go together.
            device: Where pages, vectors and prefixes lie.
        """
        self.slots = slots
        self.version = 0
        self._width = architecture.d_model
        self._merge_macs = merge_macs
        self._device = device
        self._banks: dict[BankKey, Bank] = {}
        self._placed: dict[int, tuple[BankKey, ...]] = {}
        self._bytes: dict[int, int] = {}
        self._vectors = VectorTables(slots, device)
        self._prefixes: dict[int, SlotPrefixes] = {}
        self._shortlists: dict[int, Shortlist] = {}
        self._tokens: dict[int, SlotTokens] = {}

    @property
    def placed(self) -> frozenset[int]:
        """Return the slots that hold an adapter."""
        return frozenset(self._placed)

    @property
    def nbytes(self) -> int:
        """Return the bytes that the placed adapters take."""
        return sum(self._bytes.values())

    def prefixes(self, slot: int) -> SlotPrefixes:
        """Return the prefixes of a slot's adapter."""
        return self._prefixes.get(slot, NO_PREFIXES)

    def shortlist(self, slot: int) -> Shortlist | None:
        """Return the tokens that a slot's adapter lists for its language, None for no list."""
        return self._shortlists.get(slot)

    def tokens(self, slot: int) -> SlotTokens | None:
        """Return the rows of the token table that a slot's adapter has, None for none."""
        return self._tokens.get(slot)

    def place(
        self,
        slot: int,
        parts: Iterable[BankPart],
        vectors: Sequence[VectorPart] = (),
        prefixes: Sequence[Prefix] = (),
        shortlist: Shortlist | None = None,
        tokens: SlotTokens | None = None,
    ) -> None:
        """Copy an adapter's parts into a slot, in place of what it held."""
        self.clear(slot)
        placed = list(parts)
        try:
            self._copy(slot, placed, vectors, prefixes)
        except BaseException:
            self.clear(slot)  # half an adapter must not act for whoever comes next
            raise
        copied: list[BankPart | VectorPart | Prefix] = [*placed, *vectors, *prefixes]
        self._bytes[slot] = sum(part.nbytes for part in copied)
        if shortlist is not None:
            self._shortlists[slot] = shortlist
        if tokens is not None:
            self._tokens[slot] = tokens
            self._bytes[slot] += tokens.nbytes
        self.version += 1

    def _copy(
        self,
        slot: int,
        parts: Sequence[BankPart],
        vectors: Sequence[VectorPart],
        prefixes: Sequence[Prefix],
    ) -> None:
        self._placed[slot] = tuple(part.key for part in parts)
        for part in parts:
            self._banks.setdefault(part.key, Bank(part.key, device=self._device)).place(slot, part)
        self._vectors.place(slot, vectors)
        if prefixes:
            self._prefixes[slot] = SlotPrefixes.of(moved(list(prefixes), self._device))

    def clear(self, slot: int) -> None:
        """Free a slot; nothing happens if it is free already."""
        self._bytes.pop(slot, None)
        self._prefixes.pop(slot, None)
        self._shortlists.pop(slot, None)
        self._tokens.pop(slot, None)
        self._vectors.clear(slot)
        for key in self._placed.pop(slot, ()):
            if key in self._banks:
                self._banks[key].clear(slot)
        self.version += 1

    def pages(self, slots: Iterable[int]) -> list[tuple[BankKey, Page]]:
        """Return every page that holds weights of any of the slots, in a fixed order."""
        wanted = set(slots) - {0}
        keys = sorted({key for slot in wanted for key in self._placed[slot]})
        return [
            (key, page)
            for key in keys
            for page in self._banks[key].pages
            if not wanted.isdisjoint(page.used)
        ]

    def plan(self, slot_of_row: Sequence[int]) -> Plan:
        """Group rows by adapter for every bank that any of them needs."""
        rows_of_slot: dict[int, list[int]] = {}
        for row, slot in enumerate(slot_of_row):
            if slot:
                rows_of_slot.setdefault(slot, []).append(row)
        if not rows_of_slot:
            return EMPTY_PLAN
        tokens = group_rows(slot_of_row, self._tokens, self._device)
        plan = Plan({}, self._vectors.plan(slot_of_row), tokens)
        for key in sorted({key for slot in rows_of_slot for key in self._placed[slot]}):
            groups = list(self._groups(self._banks[key], rows_of_slot, len(slot_of_row)))
            plan.sites.setdefault((key.stack, key.site), []).append((key, groups))
        return plan

    def _groups(
        self, bank: Bank, rows_of_slot: dict[int, list[int]], total: int
    ) -> Iterator[Group]:
        for page in bank.pages:
            members: list[int] = []
            for slot in sorted(page.used.keys() & rows_of_slot.keys(), key=page.used.__getitem__):
                if members and not self._worth_merging(page, [*members, slot], rows_of_slot):
                    yield self._group(page, members, rows_of_slot, total)
                    members = []
                members.append(slot)
            if members:
                yield self._group(page, members, rows_of_slot, total)

    def _worth_merging(
        self, page: Page, members: list[int], rows_of_slot: dict[int, list[int]]
    ) -> bool:
        if self._merge_macs is None:
            return True
        rows = sum(len(rows_of_slot[slot]) for slot in members)
        ranks = page.used[members[-1]][1] - page.used[members[0]][0]
        return rows * ranks * self._width <= self._merge_macs

    def _group(
        self, page: Page, members: list[int], rows_of_slot: dict[int, list[int]], total: int
    ) -> Group:
        low, high = page.used[members[0]][0], page.used[members[-1]][1]
        pairs = sorted((row, slot) for slot in members for row in rows_of_slot[slot])
        intervals = torch.tensor([page.used[slot] for _, slot in pairs])
        mask = None
        if len(members) > 1 and self._merge_macs is not None:
            columns = torch.arange(low, high)
            mask = (columns < intervals[:, :1]) | (columns >= intervals[:, 1:])
            mask = upload(mask, page.device)
        index = torch.tensor([row for row, _ in pairs])
        offsets, ends = intervals.t().contiguous()
        adapted = None
        if self._merge_macs is None:
            ranks = ends - offsets
            adapted = AdapterRows(index, offsets, ranks, int(ranks.max()))
        return Group(
            page=page,
            low=low,
            high=high,
            rows=None if len(pairs) == total else upload(index, page.device),
            count=len(pairs),
            mask=mask,
            bias_index=upload(offsets // RANK_MULTIPLE, page.device),
            adapted=adapted,
        )
