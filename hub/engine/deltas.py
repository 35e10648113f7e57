"""What an adapter adds to a row: `up(act(down(norm(x))))`, for the rows of a group."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from hub.engine import native
from hub.engine.activations import activate
from hub.engine.architecture import Stack
from hub.engine.banks import BankKey, BankPart, Group, Plan
from hub.engine.int8 import Int8Precision, portable_levels, quantize_weight, row_magnitude, signed
from hub.engine.linear import Operand, Precision, float_product
from hub.engine.vectors import Normaliser, NormSites, StepVectors

_NORM_EPSILON = 1e-5
_LEVELS = 127


class Deltas(Protocol):
    """Adapter arithmetic in one precision."""

    @property
    def merge_macs(self) -> int | None:
        """Up to which size rows of different slots may share a product (`Banks`)."""
        ...

    def pack(
        self,
        key: BankKey,
        down: Tensor,
        up: Tensor,
        down_bias: Tensor | None,
        up_bias: Tensor | None,
    ) -> BankPart:
        """Convert float32 weights, `(layers, rank, in)` and `(layers, rank, out)`."""
        ...

    def add(self, key: BankKey, layer: int, group: Group, x: Operand, out: Tensor) -> None:
        """Add what the group's rows get to `out (rows, out)`, from all prepared rows."""
        ...


def find_deltas(precision: Precision) -> Deltas:
    """Return the adapter arithmetic that goes with a base's precision."""
    if isinstance(precision, Int8Precision):
        return CompiledDeltas() if precision.compiled else Int8Deltas()
    return FloatDeltas(precision.hidden_dtype)


class StepAdapters:
    """The adapters of one step: adds what each row's adapter adds."""

    def __init__(self, plan: Plan, deltas: Deltas, precision: Precision) -> None:
        """Bind a plan to the arithmetic."""
        self._plan = plan
        self._deltas = deltas
        self._precision = precision
        self._vectors = StepVectors(plan.vectors, precision) if plan.vectors.groups else None

    def embed(self, ids: Tensor, hidden: Tensor) -> Tensor:
        """Return embeddings `(rows, d_model)` of tokens `(rows,)` with each row's own."""
        for group in self._plan.tokens:
            hidden = group.embed(ids, hidden)
        return hidden

    def scale_input(
        self, stack: Stack, site: str, layer: int, x: Tensor, prepared: Operand
    ) -> Operand:
        """Return a linear's input `x (rows, in)`, prepared, scaled where an adapter says so."""
        if self._vectors is None:
            return prepared
        return self._vectors.scale_input(stack, site, layer, x, prepared)

    def amend(
        self, stack: Stack, sites: NormSites, layer: int, norm: Normaliser, x: Tensor,
        prepared: Operand,
    ) -> Operand:  # fmt: skip
        """Return `norm(x)`, prepared, with each row's own norm and input factors."""
        if self._vectors is None:
            return prepared
        return self._vectors.amend(stack, sites, layer, norm, x, prepared)

    def normalise(self, stack: Stack, site: str, layer: int, norm: Normaliser, x: Tensor) -> Tensor:
        """Return `norm(x)`, `(rows, d_model)`, with each row's own weight and bias."""
        if self._vectors is None:
            return norm(x)
        return self._vectors.normalise(stack, site, layer, norm, x)

    def adjust(self, stack: Stack, site: str, layer: int, out: Tensor) -> None:
        """Scale and shift a linear's output `out (rows, out)`, in place."""
        if self._vectors is not None:
            self._vectors.adjust(stack, site, layer, out)

    def leaves_alone(self, stack: Stack, site: str, layer: int, sublayer: str) -> bool:
        """Return whether no row's adapter changes a sub-layer's last linear or its output.

        The product may then be added to the residual at once. A low-rank change would be a sum
        as well, but in another order than in a batch where the output is needed by itself.
        """
        if self._plan.at(stack, site) or self._plan.at(stack, sublayer):
            return False
        return self._vectors is None or not self._vectors.adjusts(stack, site, layer)

    def add_low_rank(self, stack: Stack, site: str, layer: int, x: Operand, out: Tensor) -> None:
        """Add to a linear's output `out (rows, out)` from its input `x`, in place."""
        for key, groups in self._plan.at(stack, site):
            for group in groups:
                self._deltas.add(key, layer, group, x, out)

    def add_bottleneck(self, stack: Stack, site: str, layer: int, hidden: Tensor) -> None:
        """Add to hidden states `(rows, d_model)` from themselves, in place."""
        found = self._plan.at(stack, site)
        prepared = [self._input(key, hidden) for key, _ in found]
        for (key, groups), x in zip(found, prepared, strict=True):
            for group in groups:
                self._deltas.add(key, layer, group, x, hidden)

    def _input(self, key: BankKey, hidden: Tensor) -> Operand:
        if key.normed:
            return self._precision.normed(_PLAIN_NORM, hidden)
        return self._precision.operand(hidden.clone())


class _PlainNorm:
    """A layer norm without weights: an adapter's own are folded into its down projection."""

    step = native.NormStep("layer", _NORM_EPSILON)

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], eps=_NORM_EPSILON)


_PLAIN_NORM = _PlainNorm()


def _select(x: Operand, group: Group) -> Operand:
    """Return the group's own rows."""
    if group.rows is None:
        return Operand(x.values[: x.rows], x.scale, x.rows)
    scale = None if x.scale is None else x.scale.index_select(0, group.rows)
    return Operand(x.values.index_select(0, group.rows), scale, group.count)


def _add(out: Tensor, group: Group, delta: Tensor) -> None:
    if group.rows is None:
        out += delta
    else:
        out.index_add_(0, group.rows, delta)


class FloatDeltas:
    """One product per slot, in the base's own dtype."""

    merge_macs: int | None = 0

    def __init__(self, dtype: torch.dtype) -> None:
        """Keep weights in `dtype`."""
        self._dtype = dtype

    def pack(
        self,
        key: BankKey,
        down: Tensor,
        up: Tensor,
        down_bias: Tensor | None,
        up_bias: Tensor | None,
    ) -> BankPart:
        """Convert to the base's dtype."""
        return BankPart(
            key,
            down=down.to(self._dtype),
            up=up.to(self._dtype),
            down_bias=None if down_bias is None else down_bias.to(self._dtype),
            up_bias=None if up_bias is None else up_bias.to(self._dtype),
        )

    def add(self, key: BankKey, layer: int, group: Group, x: Operand, out: Tensor) -> None:
        """Compute a group, which is one slot."""
        _add(out, group, self._delta(key, layer, group, _select(x, group)))

    def _delta(self, key: BankKey, layer: int, group: Group, x: Operand) -> Tensor:
        weights = group.page.tensors
        ranks = slice(group.low, group.high)
        down_bias = weights["down_bias"][layer, ranks] if key.biased else None
        z = float_product(x.values, weights["down"][layer, ranks], down_bias)
        z = activate(z, key.activation)
        delta = float_product(z, weights["up"][layer, ranks].t(), None)
        if key.biased:
            delta += weights["up_bias"][layer].index_select(0, group.bias_index)
        return delta


class Int8Deltas:
    """Weights and activations in 8 bits: sums of integers are exact in any grouping.

    Neighbouring slots share one product: every row meets every rank of the group,
    and the ranks of other slots are replaced by zeros in between. Both products are
    sums of integers, so the zeros and the company change no bit of the result.
    """

    merge_macs: int | None = 64 << 20

    def pack(
        self,
        key: BankKey,
        down: Tensor,
        up: Tensor,
        down_bias: Tensor | None,
        up_bias: Tensor | None,
    ) -> BankPart:
        """Quantize to 8 bits."""
        levels = portable_levels()
        return _pack_int8(key, down, up, down_bias, up_bias, levels=levels, between=_LEVELS)

    def add(self, key: BankKey, layer: int, group: Group, x: Operand, out: Tensor) -> None:
        """Compute a group of one or more slots."""
        _add(out, group, self._delta(key, layer, group, _select(x, group)))

    def _delta(self, key: BankKey, layer: int, group: Group, x: Operand) -> Tensor:
        assert x.scale is not None
        weights, ranks = group.page.tensors, slice(group.low, group.high)
        values = signed(x.values)
        z = torch._int_mm(values, weights["down"][layer, ranks].t())
        scaled = z * weights["rank_scale"][layer, ranks]
        if key.biased:
            scaled = torch.addcmul(weights["down_bias"][layer, ranks], scaled, x.scale)
            scaled = activate(scaled, key.activation) * weights["up_scale"][layer, ranks]
        if group.mask is not None:
            scaled.masked_fill_(group.mask, 0.0)
        magnitude = row_magnitude(scaled)
        quantized = scaled.mul_(_LEVELS / magnitude).round_().to(torch.int8)
        product = torch._int_mm(quantized, weights["up"][layer, ranks])
        if not key.biased:
            return product * (magnitude * x.scale)
        bias = weights["up_bias"][layer].index_select(0, group.bias_index)
        return torch.addcmul(bias, product, magnitude)


class CompiledDeltas:
    """Every row by itself, each through its own adapter: reads each adapter's bytes once.

    Down multiplies 8-bit weights with 8-bit activations; between down and up values stay float.
    """

    merge_macs: int | None = None

    def pack(
        self,
        key: BankKey,
        down: Tensor,
        up: Tensor,
        down_bias: Tensor | None,
        up_bias: Tensor | None,
    ) -> BankPart:
        """Quantize to 8 bits."""
        return _pack_int8(key, down, up, down_bias, up_bias, levels=_LEVELS, between=1)

    def add(self, key: BankKey, layer: int, group: Group, x: Operand, out: Tensor) -> None:
        """Compute all rows of a page."""
        assert x.scale is not None
        assert group.adapted is not None
        weights = group.page.layer(layer)
        native.adapt(x.values, x.scale, group.adapted, weights, key.activation, out)


def _pack_int8(
    key: BankKey,
    down: Tensor,
    up: Tensor,
    down_bias: Tensor | None,
    up_bias: Tensor | None,
    *,
    levels: int,
    between: int,
) -> BankPart:
    """Quantize; down has one scale per rank, and so has up.

    `levels` are those of the weights, `between` those of the values between down and up: 127 where
    they are quantized too, else 1.
    """
    quantized_down, down_scale = quantize_weight(down, levels)
    quantized_up, up_scale = quantize_weight(up, levels)
    up_scale = up_scale * (_LEVELS / between)
    biased = down_bias is not None
    return BankPart(
        key,
        down=quantized_down,
        up=quantized_up,
        rank_scale=down_scale if biased else down_scale * up_scale,
        up_scale=up_scale if biased else None,
        down_bias=down_bias,
        up_bias=up_bias,
        down_sum=quantized_down.sum(-1, dtype=torch.int32),
    )
