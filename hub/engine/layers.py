"""The blocks of an encoder-decoder: norms, attention, feed-forward, layers.

Linears see flat rows `(rows, width)`: tokens of sources end to end in the
encoder, one row per hypothesis in the decoder. Only attention knows sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from hub.engine.architecture import FEED_FORWARD_GATE, LAYER_OUTPUT, Stack
from hub.engine.cache import Lane
from hub.engine.deltas import StepAdapters
from hub.engine.linear import Linear, Operand, Precision


@dataclass(frozen=True, slots=True)
class Norm:
    """Norm over the last dimension.

    Attributes:
        bias: None for an RMS norm, which neither centres nor shifts (arXiv 1910.07467).
    """

    weight: Tensor
    bias: Tensor | None
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return `x` normalised and scaled, and shifted by a layer norm."""
        if self.bias is None:
            return functional.rms_norm(x, x.shape[-1:], self.weight, self.epsilon)
        return functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.epsilon)


_VECTOR = 64
_SERIAL = 32768
"""Elements up to which torch keeps an operation on one thread."""


def activate(x: Tensor, activation: str) -> Tensor:
    """Return an activation of `(rows, width)` by its name in `Architecture`; may overwrite `x`.

    Torch computes what does not fill a vector, at the end of a thread's share, by another
    formula. Rows are therefore padded to whole vectors, and where the shares of threads could
    end inside one, they run in blocks that torch does not share out.
    """
    if activation == "relu":
        return x.relu_()
    width = x.shape[1]
    padded = functional.pad(x, (0, -width % _VECTOR)) if width % _VECTOR else x
    if torch.get_num_threads() <= 2:
        return _smooth(padded, activation)[:, :width]
    blocks = torch.split(padded, max(1, _SERIAL // padded.shape[1]))
    return torch.cat([_smooth(block, activation) for block in blocks])[:, :width]


def _smooth(x: Tensor, activation: str) -> Tensor:
    if activation == "silu":
        return functional.silu(x)
    return functional.gelu(x, approximate="tanh" if activation == "gelu_new" else "none")


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

    def __call__(self, x: Operand, precision: Precision, adapters: StepAdapters) -> Tensor:
        """Return `(rows, d_model)`."""
        inner = self.fc1(x)
        adapters.add_low_rank(self.stack, "fc1", self.layer, x, inner)
        if self.gate is None:
            active = activate(inner, self.activation)
        else:
            gate = self.gate(x)
            adapters.add_low_rank(self.stack, FEED_FORWARD_GATE, self.layer, x, gate)
            active = activate(gate, self.activation).mul_(inner)
        prepared = precision.operand(active)
        out = self.fc2(prepared)
        adapters.add_low_rank(self.stack, "fc2", self.layer, prepared, out)
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

    def __call__(
        self, x: Operand, attend: Attend, precision: Precision, adapters: StepAdapters
    ) -> Tensor:
        """Return `(rows, d_model)`."""
        mixed = precision.operand(attend(self.layer, self.project(x, adapters)))
        out = self.out(mixed)
        adapters.add_low_rank(self.stack, f"{self.site}.out", self.layer, mixed, out)
        return out

    def project(self, x: Operand, adapters: StepAdapters) -> Tensor:
        """Return `(rows, len(names) * heads * head_dim)`, adapters included."""
        projected = self.inputs(x)
        width = projected.shape[1] // len(self.names)
        for index, name in enumerate(self.names):
            columns = projected[:, index * width : (index + 1) * width]
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
        keys, values = projected.chunk(2, dim=1)
        adapters.add_low_rank("decoder", "cross_attn.k", self.layer, x, keys)
        adapters.add_low_rank("decoder", "cross_attn.v", self.layer, x, values)
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
        x = precision.operand(self._before(self.self_norm, hidden))
        hidden += self.self_attention(x, attend, precision, adapters)
        hidden = self._behind(self.self_norm, hidden)
        if self.cross_attention is not None:
            assert self.cross_norm is not None
            assert attend_cross is not None
            x = precision.operand(self._before(self.cross_norm, hidden))
            hidden += self.cross_attention(x, attend_cross, precision, adapters)
            hidden = self._behind(self.cross_norm, hidden)
        x = precision.operand(self._before(self.feed_forward_norm, hidden))
        hidden += self.feed_forward(x, precision, adapters)
        hidden = self._behind(self.feed_forward_norm, hidden)
        adapters.add_bottleneck(self.stack, LAYER_OUTPUT, self.index, hidden)
        return hidden

    def _before(self, norm: Norm, hidden: Tensor) -> Tensor:
        return norm(hidden) if self.pre_norm else hidden

    def _behind(self, norm: Norm, hidden: Tensor) -> Tensor:
        return hidden if self.pre_norm else norm(hidden)


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
        mask: `(count, 1, 1, length)`, additive; with relative positions
            `(count, heads, length, length)`.
    """

    tokens: slice
    count: int
    length: int
    places: Tensor | None
    mask: Tensor

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
        parts = [self._bucket(bucket, projected[bucket.tokens]) for bucket in self.buckets]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _bucket(self, bucket: SourceBucket, projected: Tensor) -> Tensor:
        spread = bucket.spread(projected)
        split = spread.view(bucket.count, bucket.length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            split[0], split[1], split[2], attn_mask=bucket.mask, scale=self.scale
        )  # (count, heads, length, head_dim)
        flat = mixed.transpose(1, 2).reshape(bucket.count * bucket.length, -1)
        return flat if bucket.places is None else flat.index_select(0, bucket.places)


@dataclass(frozen=True, slots=True)
class LaneStep:
    """One lane's part of a decoder step.

    Attributes:
        rows: Slice of the step's flat rows.
        index: `(rows,)` row numbers inside the lane.
        positions: `(rows,)` the position each row writes.
        mask: `(rows, 1, 1, positions)`, additive; with relative positions one a head.
    """

    lane: Lane
    rows: slice
    index: Tensor
    positions: Tensor
    mask: Tensor

    def attend_self(self, layer: int, projected: Tensor) -> Tensor:
        """Write keys and values, then attend from `(rows, 3 * heads * head_dim)`."""
        cache = self.lane.self_kv[layer]
        rows, heads, head_dim = projected.shape[0], cache.shape[2], cache.shape[4]
        split = projected.view(rows, 3, heads, head_dim)
        written = split[:, 1:].transpose(0, 1)  # (2, rows, heads, head_dim)
        cache.transpose(2, 3)[:, self.index, self.positions] = written
        keys, values = cache[:, :rows, :, : self.mask.shape[-1]]
        mixed = functional.scaled_dot_product_attention(
            split[:, 0].unsqueeze(2), keys, values, attn_mask=self.mask, scale=self.lane.scale
        )  # (rows, heads, 1, head_dim)
        return mixed.reshape(rows, heads * head_dim)

    def attend_cross(self, layer: int, projected: Tensor) -> Tensor:
        """Attend from queries `(rows, heads * head_dim)`; beams share their source."""
        lane, mask = self.lane, self.lane.cross_mask()
        cache = lane.cross_kv[layer]
        heads, head_dim = cache.shape[2], cache.shape[4]
        queries = projected.view(lane.count, lane.width, heads, head_dim).transpose(1, 2)
        keys, values = cache[:, : lane.count, :, : mask.shape[-1]]
        mixed = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, scale=lane.scale
        )
        return mixed.transpose(1, 2).reshape(projected.shape)


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
