"""Decode steps as CUDA graphs: one launch instead of hundreds.

A model of this size waits for launches, not for products. A graph replays a recorded step, but
only with the same kernels, shapes and addresses. So a step is padded to a bucket of rows, target
positions and source positions, its adapters are gathered (`gathered.py`), and whatever changes
lies in fixed buffers.

A shape that was seen a few times is captured. Until then the same padded step runs uncaptured: a
row's result must not depend on how often a shape was seen. Steps of several lanes, and those with
adapters that cannot be gathered, run as the engine runs them without graphs. Prefixes are entries
of the caches; relative positions are computed from the buffers, inside the graph.

What can be captured and replayed is a `Capture`. `CudaCapture` is the real one; nothing here has
been seen running on a GPU yet, and docs/gpu.md says so. The rest of this file knows no CUDA.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import torch
from torch import Tensor

from hub.engine.alignment import CrossQueries
from hub.engine.banks import EMPTY_PLAN, Banks, Plan
from hub.engine.cache import Lane
from hub.engine.deltas import StepAdapters
from hub.engine.devices import CPU
from hub.engine.gathered import AdapterBuffers, AdapterShape, GatheredDeltas, gatherable
from hub.engine.layers import LaneStep
from hub.engine.linear import Precision
from hub.engine.model import DecoderStep, Model

CAPTURE_AFTER: Final = 3
"""How often a shape must be seen before it is captured."""

MOST_GRAPHS: Final = 64
"""Graphs and buffers kept; the one not used for longest goes first."""

_LEAST_POSITIONS: Final = 16
_WARM_UPS: Final = 3

Replay = Callable[[], Tensor]
"""Runs a captured step and returns its output, always the same tensor."""


class Capture(Protocol):
    """Records a function that works on fixed addresses, so that it can be repeated."""

    def __call__(self, run: Callable[[], Tensor]) -> Replay:
        """Record `run`; it may be called more than once."""
        ...


class CudaCapture:
    """CUDA graphs that share one memory pool. Not seen running yet.

    Sharing is safe because one thread replays one graph at a time and reads a graph's output
    before the next replay.
    """

    def __init__(self, device: torch.device) -> None:
        """Prepare; the first capture reserves the pool."""
        self._device = device
        self._pool: Any = None

    def __call__(self, run: Callable[[], Tensor]) -> Replay:
        """Warm up beside the main stream, then record."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device):
            self._warm_up(run)
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            with torch.cuda.graph(graph, pool=self._pool):
                output = run()

        def replay() -> Tensor:
            graph.replay()
            return output

        return replay

    def _warm_up(self, run: Callable[[], Tensor]) -> None:
        """Let libraries choose kernels and allocate workspaces, which a capture must not see."""
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                run()
        torch.cuda.current_stream(self._device).wait_stream(side)


def find_capture(precision: Precision, device: torch.device) -> Capture | None:
    """Return how decode steps are captured on a device; None where they cannot be.

    LLM.int8() looks for outliers on the host in every product, which no graph can hold.
    """
    if device.type != "cuda" or precision.name == "bnb-int8":
        return None
    return CudaCapture(device)


def bucket(size: int, least: int = 1) -> int:
    """Return `size` rounded up to a power of two, `least` at the least."""
    return max(least, 1 << (size - 1).bit_length())


@dataclass(frozen=True, slots=True)
class StepShape:
    """What two steps must share to use one graph.

    Attributes:
        width: Rows of a request.
        requests: Bucket of requests.
        positions: Bucket of target positions.
        source_positions: Bucket of source positions.
        adapters: Pages of adapters in use.
    """

    width: int
    requests: int
    positions: int
    source_positions: int
    adapters: AdapterShape

    @property
    def rows(self) -> int:
        """Return the rows of the padded step."""
        return self.width * self.requests

    @classmethod
    def of(cls, step: DecoderStep, adapters: AdapterShape) -> StepShape:
        """Return the shape of a step of one lane."""
        (part,) = step.lanes
        lane = part.lane
        assert part.mask is not None
        return cls(
            width=lane.width,
            requests=bucket(lane.count),
            positions=bucket(part.mask.shape[-1], _LEAST_POSITIONS),
            source_positions=bucket(lane.cross_mask().shape[-1], _LEAST_POSITIONS),
            adapters=adapters,
        )


@dataclass(frozen=True, slots=True)
class FixedLane:
    """A lane padded to a bucket: what attention reads of a `Lane`, at fixed addresses."""

    width: int
    count: int
    self_kv: Tensor
    cross_kv: Tensor
    mask: Tensor
    scale: float

    def cross_mask(self) -> Tensor:
        """Return the additive mask `(requests, 1, 1, source positions)`."""
        return self.mask


class StepBuffers:
    """The inputs of a padded step, at fixed addresses.

    Rows behind the real ones read token 0 at position 0 and see one position, so that they stay
    finite; what they write lies in cache rows that no request owns.
    """

    def __init__(
        self, shape: StepShape, lane: Lane, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Allocate over a lane's caches, which must be large enough."""
        self._shape = shape
        self.adapters = AdapterBuffers(shape.adapters, shape.rows, device)
        cross = _hidden(shape.requests, shape.source_positions, dtype, device)
        fixed = FixedLane(
            shape.width, shape.requests, lane.self_kv, lane.cross_kv, cross, lane.scale
        )
        tokens, positions, entries = (
            torch.zeros(shape.rows, dtype=torch.int64, device=device) for _ in range(3)
        )
        part = LaneStep(
            lane=cast(Lane, fixed),
            rows=slice(0, shape.rows),
            index=torch.arange(shape.rows, device=device),
            positions=entries,
            mask=_hidden(shape.rows, shape.positions, dtype, device),
            places=None,
        )
        self.step = DecoderStep(tokens, positions, [part])
        self._cross = cross
        self._composition: object = None

    def fill(self, step: DecoderStep, slot_of_row: Sequence[int], version: int) -> None:
        """Write a step; the adapters only where they changed.

        Args:
            step: Of one lane, no larger than the shape.
            slot_of_row: Adapter slot of each row.
            version: Changes whenever a slot is placed or cleared.
        """
        (part,) = step.lanes
        (own,) = self.step.lanes
        assert own.mask is not None
        assert part.mask is not None
        _overwrite(self.step.tokens, step.tokens)
        _overwrite(self.step.positions, step.positions)
        _overwrite(own.positions, part.positions)
        _cover(own.mask, part.mask)
        _cover(self._cross, part.lane.cross_mask())
        composition = (version, tuple(slot_of_row))
        if composition != self._composition:
            self.adapters.fill(slot_of_row)
            self._composition = composition


def _hidden(rows: int, positions: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    mask = torch.full((rows, 1, 1, positions), float("-inf"), dtype=dtype, device=device)
    mask[..., 0] = 0
    return mask


def _overwrite(fixed: Tensor, values: Tensor) -> None:
    count = values.shape[0]
    fixed[:count].copy_(values)
    fixed[count:].zero_()


def _cover(fixed: Tensor, mask: Tensor) -> None:
    """Copy an additive mask into the corner of a larger one; the rest sees position 0 only."""
    rows, positions = mask.shape[0], mask.shape[-1]
    fixed.fill_(float("-inf"))
    fixed[rows:, ..., 0] = 0
    fixed[:rows, ..., :positions].copy_(mask)


Anchors = tuple[tuple[int, tuple[int, ...]], ...]


def anchors_of(tensors: Sequence[Tensor]) -> Anchors:
    """Return addresses and shapes: a graph is good while these stay the same."""
    return tuple((tensor.data_ptr(), tuple(tensor.shape)) for tensor in tensors)


@dataclass(slots=True)
class _Entry:
    buffers: StepBuffers
    anchors: Anchors
    queries: CrossQueries
    replay: Replay | None = None


class GraphRunner:
    """Runs decode steps of one lane in padded shapes, captured once they recur."""

    def __init__(
        self,
        model: Model,
        banks: Banks,
        capture: Capture,
        device: torch.device = CPU,
        *,
        after: int = CAPTURE_AFTER,
        limit: int = MOST_GRAPHS,
    ) -> None:
        """Start without graphs.

        Args:
            model: The base.
            banks: Its adapters, in the base's own dtype.
            capture: Records steps.
            device: Where model, banks and caches are.
            after: Uses of a shape before it is captured.
            limit: Shapes kept at once.
        """
        self._model = model
        self._banks = banks
        self._capture = capture
        self._device = device
        self._after = after
        self._limit = limit
        self._deltas = GatheredDeltas(model.precision.hidden_dtype)
        self._entries: OrderedDict[StepShape, _Entry] = OrderedDict()
        self._version = banks.version
        self.uses: Counter[StepShape] = Counter()

    @property
    def captured(self) -> int:
        """Return the number of graphs held."""
        return sum(entry.replay is not None for entry in self._entries.values())

    @property
    def shapes(self) -> tuple[StepShape, ...]:
        """Return the shapes held, the one used last at the end."""
        return tuple(self._entries)

    def decode(
        self,
        step: DecoderStep,
        slot_of_row: Sequence[int],
        plan: Plan = EMPTY_PLAN,
        queries: CrossQueries | None = None,
    ) -> Tensor | None:
        """Return the decoder's output `(rows, d_model)`, or None where the engine must run it.

        The output is overwritten by the next step.

        Args:
            step: Tokens, positions and lanes.
            slot_of_row: Adapter slot of each row.
            plan: The same, as the engine would run it.
            queries: Given those of the step. A graph holds on to its own in any case, which costs
                no launch: a replay overwrites them where they are.
        """
        if len(step.lanes) != 1 or step.lanes[0].mask is None or not gatherable(plan):
            return None
        shape = StepShape.of(step, AdapterShape.of(self._banks, slot_of_row))
        entry = self._entry(shape, step.lanes[0].lane)
        entry.buffers.fill(step, slot_of_row, self._banks.version)
        hidden = self._run(shape, entry)
        if queries is not None:
            queries.projected = entry.queries.projected
        return hidden[: step.tokens.shape[0]]

    def forget(self) -> None:
        """Drop every graph and its buffers."""
        self._entries.clear()
        self.uses.clear()

    def _entry(self, shape: StepShape, lane: Lane) -> _Entry:
        lane.ensure(shape.requests, shape.positions, shape.source_positions)
        if self._version != self._banks.version:
            self._version = self._banks.version
            self._drop_stale(lane)
        anchors = anchors_of([lane.self_kv, lane.cross_kv, *shape.adapters.tensors])
        entry = self._entries.get(shape)
        if entry is None or entry.anchors != anchors:
            self._drop_stale(lane)
            dtype = self._model.precision.hidden_dtype
            queries = CrossQueries(self._model.architecture)
            entry = _Entry(StepBuffers(shape, lane, dtype, self._device), anchors, queries)
            self._entries[shape] = entry
            self.uses[shape] = 0
        self._entries.move_to_end(shape)
        while len(self._entries) > self._limit:
            old, _ = self._entries.popitem(last=False)
            del self.uses[old]
        return entry

    def _drop_stale(self, lane: Lane) -> None:
        """Drop what no step can use again: other caches of this lane, pages that are gone."""
        caches = anchors_of([lane.self_kv, lane.cross_kv])
        live = {id(page) for _, page in self._banks.pages(self._banks.placed)}
        for shape, entry in list(self._entries.items()):
            moved = shape.width == lane.width and entry.anchors[:2] != caches
            if moved or any(id(use.page) not in live for use in shape.adapters.uses):
                del self._entries[shape]
                del self.uses[shape]

    def _run(self, shape: StepShape, entry: _Entry) -> Tensor:
        self.uses[shape] += 1
        if entry.replay is None and self.uses[shape] >= self._after:
            entry.replay = self._capture(lambda: self._padded(entry))
        return self._padded(entry) if entry.replay is None else entry.replay()

    def _padded(self, entry: _Entry) -> Tensor:
        plan = entry.buffers.adapters.plan
        adapters = StepAdapters(plan, self._deltas, self._model.precision)
        return self._model.decode(entry.buffers.step, adapters, entry.queries)
