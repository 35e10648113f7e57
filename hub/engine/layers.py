"""The blocks of an encoder-decoder: norms, attention, feed-forward, layers.

Linears see flat rows `(rows, width)`: tokens of sources end to end in the
encoder, one row per hypothesis in the decoder. Only attention knows sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from hub.engine.activations import activate
from hub.engine.architecture import FEED_FORWARD_GATE, LAYER_OUTPUT, SELF_INPUT, Stack
from hub.engine.cache import Lane
from hub.engine.deltas import StepAdapters
from hub.engine.linear import Linear, Operand, Precision
from hub.engine.native import NormKind, NormStep, Places, attend
from hub.engine.prefixes import PrefixedKeys
from hub.engine.vectors import NormSites

_SELF = NormSites("self_attn_norm", SELF_INPUT)
_CROSS = NormSites("cross_attn_norm", "cross_attn.q")
_FEED_FORWARD = NormSites("feed_forward_norm", "fc1")


@dataclass(frozen=True, slots=True)
class Norm:
    """Norm over the last dimension.

    Attributes:
        bias: None for an RMS norm, which neither centres nor shifts (arXiv 1910.07467).
        step: The norm as the compiled kernels take it.
    """

    weight: Tensor
    bias: Tensor | None
    epsilon: float
    step: NormStep = field(init=False, repr=False)

    def __post_init__(self) -> None:
        kind: NormKind = "rms" if self.bias is None else "layer"
        step = NormStep(kind, self.epsilon, self.weight, self.bias)
        object.__setattr__(self, "step", step)

    def __call__(self, x: Tensor) -> Tensor:
        """Return `x` normalised and scaled, and shifted by a layer norm."""
        if self.bias is None:
            return functional.rms_norm(x, x.shape[-1:], self.weight, self.epsilon)
        return functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.epsilon)

    def unit(self, x: Tensor) -> Tensor:
        """Return `x` normalised, neither scaled nor shifted."""
        if self.bias is None:
            return functional.rms_norm(x, x.shape[-1:], eps=self.epsilon)
        return functional.layer_norm(x, x.shape[-1:], eps=self.epsilon)


@dataclass(frozen=True, slots=True)
class FeedForward:
    """`fc2(activation(fc1(x)))`, or gated: `fc2(activation(gate(x)) * fc1(x))`.

    The gated form is that of arXiv 2002.05202, equation 6.
    """

    stack: Stack
    layer: int
    fc1: Linear
    fc2: Linear
    activation: str
    gate: Linear | None = None

    def add_to(
        self, hidden: Tensor, x: Operand, precision: Precision, adapters: StepAdapters
    ) -> None:
        """Add the sub-layer's output to `hidden (rows, d_model)`, in place."""
        inner = self._adapted(self.fc1, "fc1", x, adapters)
        if self.gate is None:
            active = activate(inner, self.activation)
        else:
            gate = self._adapted(self.gate, FEED_FORWARD_GATE, x, adapters)
            active = activate(gate, self.activation).mul_(inner)
        prepared = precision.operand(active)
        prepared = adapters.scale_input(self.stack, "fc2", self.layer, active, prepared)
        if adapters.leaves_alone(self.stack, "fc2", self.layer, "feed_forward"):
            self.fc2.add_to(hidden, prepared)
            return
        out = self._adapted(self.fc2, "fc2", prepared, adapters)
        adapters.add_bottleneck(self.stack, "feed_forward", self.layer, out)
        hidden += out

    def _adapted(self, linear: Linear, site: str, x: Operand, adapters: StepAdapters) -> Tensor:
        out = linear(x)
        adapters.adjust(self.stack, site, self.layer, out)
        adapters.add_low_rank(self.stack, site, self.layer, x, out)
        return out


class Attend(Protocol):
    """Attention of flat rows over whatever keys and values belong to them."""

    def __call__(self, layer: int, projected: Tensor) -> Tensor:
        """Return `(rows, heads * head_dim)` from a layer's projections."""
        ...


@dataclass(frozen=True, slots=True)
class Attention:
    """Projections around an attention: all inputs in one product, then the output.

    Attributes:
        site: "self_attn" or "cross_attn".
        inputs: One linear for the concatenation of `names`.
        names: Which of q, k, v `inputs` makes, in order.
    """

    stack: Stack
    layer: int
    site: str
    inputs: Linear
    names: Sequence[str]
    out: Linear

    def add_to(
        self,
        hidden: Tensor,
        x: Operand,
        attend: Attend,
        precision: Precision,
        adapters: StepAdapters,
    ) -> None:
        """Add the sub-layer's output to `hidden (rows, d_model)`, in place."""
        site = f"{self.site}.out"
        attended = attend(self.layer, self.project(x, adapters))
        mixed = precision.operand(attended)
        mixed = adapters.scale_input(self.stack, site, self.layer, attended, mixed)
        if adapters.leaves_alone(self.stack, site, self.layer, self.site):
            self.out.add_to(hidden, mixed)
            return
        out = self.out(mixed)
        adapters.adjust(self.stack, site, self.layer, out)
        adapters.add_low_rank(self.stack, site, self.layer, mixed, out)
        adapters.add_bottleneck(self.stack, self.site, self.layer, out)
        hidden += out

    def project(self, x: Operand, adapters: StepAdapters) -> Tensor:
        """Return `(rows, len(names) * heads * head_dim)`, adapters included."""
        projected = self.inputs(x)
        width = projected.shape[1] // len(self.names)
        for index, name in enumerate(self.names):
            columns = projected[:, index * width : (index + 1) * width]
            adapters.adjust(self.stack, f"{self.site}.{name}", self.layer, columns)
            adapters.add_low_rank(self.stack, f"{self.site}.{name}", self.layer, x, columns)
        return projected


@dataclass(frozen=True, slots=True)
class KeysValues:
    """The cross-attention's view of a source: computed once, kept with the request."""

    layer: int
    inputs: Linear

    def __call__(self, x: Operand, adapters: StepAdapters) -> Tensor:
        """Return `(tokens, 2 * heads * head_dim)` from prepared encoder output."""
        projected = self.inputs(x)
        columns = projected.chunk(2, dim=1)
        for site, own in zip(("cross_attn.k", "cross_attn.v"), columns, strict=True):
            adapters.adjust("decoder", site, self.layer, own)
            adapters.add_low_rank("decoder", site, self.layer, x, own)
        return projected


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of either stack; `cross` is None in the encoder.

    Attributes:
        pre_norm: Norms come before the sub-layers, and not behind their residuals.
    """

    stack: Stack
    index: int
    self_norm: Norm
    self_attention: Attention
    cross_norm: Norm | None
    cross_attention: Attention | None
    feed_forward_norm: Norm
    feed_forward: FeedForward
    pre_norm: bool = True

    def __call__(
        self,
        hidden: Tensor,
        attend: Attend,
        attend_cross: Attend | None,
        precision: Precision,
        adapters: StepAdapters,
    ) -> Tensor:
        """Return the new `hidden (rows, d_model)`; the old one is overwritten."""
        x = self._read(self.self_norm, _SELF, hidden, precision, adapters)
        self.self_attention.add_to(hidden, x, attend, precision, adapters)
        hidden = self._behind(self.self_norm, _SELF, hidden, adapters)
        if self.cross_attention is not None:
            assert self.cross_norm is not None
            assert attend_cross is not None
            x = self._read(self.cross_norm, _CROSS, hidden, precision, adapters)
            self.cross_attention.add_to(hidden, x, attend_cross, precision, adapters)
            hidden = self._behind(self.cross_norm, _CROSS, hidden, adapters)
        x = self._read(self.feed_forward_norm, _FEED_FORWARD, hidden, precision, adapters)
        self.feed_forward.add_to(hidden, x, precision, adapters)
        hidden = self._behind(self.feed_forward_norm, _FEED_FORWARD, hidden, adapters)
        adapters.add_bottleneck(self.stack, LAYER_OUTPUT, self.index, hidden)
        return hidden

    def _read(
        self,
        norm: Norm,
        sites: NormSites,
        hidden: Tensor,
        precision: Precision,
        adapters: StepAdapters,
    ) -> Operand:
        """Return what a sub-layer's first linears read from `hidden`."""
        if self.pre_norm:
            prepared = precision.normed(norm, hidden)
            return adapters.amend(self.stack, sites, self.index, norm, hidden, prepared)
        prepared = precision.operand(hidden)
        return adapters.scale_input(self.stack, sites.readers, self.index, hidden, prepared)

    def _behind(
        self, norm: Norm, sites: NormSites, hidden: Tensor, adapters: StepAdapters
    ) -> Tensor:
        """Return what stands behind a residual."""
        if self.pre_norm:
            return hidden
        return adapters.normalise(self.stack, sites.norm, self.index, norm, hidden)


@dataclass(frozen=True, slots=True)
class SourceBucket:
    """Sources of one rounded length; attention runs bucket by bucket.

    The shape that a source's attention sees depends on its own length alone, which is what
    keeps its result free of its neighbours'.

    Attributes:
        tokens: Slice of the flat rows.
        count: Number of sources.
        length: Rounded length.
        places: `(tokens,)` where each flat row goes in `(count * length)`; None if all fit.
        mask: `(count, 1, 1, entries)`, additive; with relative positions
            `(count, heads, length, entries)`.
        prefixed: How keys and values lie where the sources have prefixes.
    """

    tokens: slice
    count: int
    length: int
    places: Tensor | None
    mask: Tensor
    prefixed: PrefixedKeys | None = None

    def spread(self, rows: Tensor) -> Tensor:
        """Return flat rows `(tokens, width)` as `(count, length, width)`, zeros between."""
        width = rows.shape[1]
        if self.places is None:
            return rows.view(self.count, self.length, width)
        spread = rows.new_zeros(self.count * self.length, width)
        spread.index_copy_(0, self.places, rows)
        return spread.view(self.count, self.length, width)


@dataclass(frozen=True, slots=True)
class SourceAttention:
    """Self-attention inside each source of an encoder batch.

    Attributes:
        scale: Factor on the products of queries and keys.
    """

    buckets: Sequence[SourceBucket]
    heads: int
    scale: float

    def __call__(self, layer: int, projected: Tensor) -> Tensor:
        """Attend from fused `(tokens, 3 * heads * head_dim)`."""
        parts = [self._bucket(layer, bucket, projected[bucket.tokens]) for bucket in self.buckets]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _bucket(self, layer: int, bucket: SourceBucket, projected: Tensor) -> Tensor:
        if bucket.prefixed is None:
            queries, keys, values = self._heads(bucket.spread(projected), 3)
        else:
            width = projected.shape[1] // 3
            [queries] = self._heads(bucket.spread(projected[:, :width]), 1)
            keys, values = self._heads(bucket.prefixed.spread(layer, projected[:, width:]), 2)
        mixed = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=bucket.mask, scale=self.scale
        )  # (count, heads, length, head_dim)
        flat = mixed.transpose(1, 2).reshape(bucket.count * bucket.length, -1)
        return flat if bucket.places is None else flat.index_select(0, bucket.places)

    def _heads(self, spread: Tensor, parts: int) -> Tensor:
        """Split `(count, length, parts * inner)` into `(parts, count, heads, length, head_dim)`."""
        count, length, _ = spread.shape
        return spread.view(count, length, parts, self.heads, -1).permute(2, 0, 3, 1, 4)


@dataclass(frozen=True, slots=True)
class LaneStep:
    """One lane's part of a decoder step.

    Attributes:
        rows: Slice of the step's flat rows.
        index: `(rows,)` row numbers inside the lane.
        positions: `(rows,)` the position each row writes.
        mask: `(rows, 1, 1, positions)`, additive, one a head with relative positions; None
            where the kernels read lengths.
        places: Where the kernels find each row's own positions.
        bias: `(heads, distances)` of relative positions, for the kernels.
    """

    lane: Lane
    rows: slice
    index: Tensor
    positions: Tensor
    mask: Tensor | None
    places: Places | None
    bias: Tensor | None = None

    def attend_self(self, layer: int, projected: Tensor) -> Tensor:
        """Write keys and values, then attend from `(rows, 3 * heads * head_dim)`."""
        cache = self.lane.self_kv[layer]
        rows, heads, head_dim = projected.shape[0], cache.shape[2], cache.shape[4]
        if self.places is not None:
            out = projected.new_empty(rows, heads * head_dim)
            attend(
                projected, cache, self.places, out, append=True, scale=self.lane.scale,
                bias=self.bias,
            )  # fmt: skip
            return out
        assert self.mask is not None
        split = projected.view(rows, 3, heads, head_dim)
        written = split[:, 1:].transpose(0, 1)  # (2, rows, heads, head_dim)
        cache.transpose(2, 3)[:, self.index, self.positions] = written
        keys, values = cache[:, :rows, :, : self.mask.shape[-1]]
        queries = split[:, 0].unsqueeze(2)
        mixed = _attend_rows(queries, keys, values, self.mask, self.lane.scale)
        # (rows, heads, 1, head_dim)
        return mixed.reshape(rows, heads * head_dim)

    def attend_cross(self, layer: int, projected: Tensor) -> Tensor:
        """Attend from queries `(rows, heads * head_dim)`; beams share their source."""
        lane = self.lane
        cache = lane.cross_kv[layer]
        heads, head_dim = cache.shape[2], cache.shape[4]
        if self.places is not None:
            out = torch.empty_like(projected)
            places = lane.cross_places()
            attend(projected, cache, places, out, append=False, scale=lane.scale)
            return out
        mask = lane.cross_mask()
        queries = projected.view(lane.count, lane.width, heads, head_dim).transpose(1, 2)
        keys, values = cache[:, : lane.count, :, : mask.shape[-1]]
        mixed = _attend_rows(queries, keys, values, mask, lane.scale)
        return mixed.transpose(1, 2).reshape(projected.shape)


def _attend_rows(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: float
) -> Tensor:
    """Attend row by row, `(rows, heads, queries, head_dim)`, the same bits for any number of rows.

    PyTorch's CPU kernel for few float32 queries shares the keys out when it has several threads,
    and then sums in an order that depends on the number of rows: it gets one thread.
    """
    threads = torch.get_num_threads()
    alone = queries.device.type == "cpu" and queries.dtype == torch.float32 and threads > 1
    if alone:
        torch.set_num_threads(1)
    try:
        return functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, scale=scale
        )
    finally:
        if alone:
            torch.set_num_threads(threads)


@dataclass(frozen=True, slots=True)
class StepAttention:
    """Attention of all lanes of a step, one after the other."""

    lanes: Sequence[LaneStep]
    cross: bool

    def __call__(self, layer: int, projected: Tensor) -> Tensor:
        """Attend in every lane and put the rows together again."""
        parts = [
            (step.attend_cross if self.cross else step.attend_self)(layer, projected[step.rows])
            for step in self.lanes
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)
