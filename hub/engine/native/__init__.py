"""Compiled inner loops for CPUs; the engine also runs without them, slower.

Everything is per row, in a fixed order of operations, so a row's result depends
neither on its neighbours nor on the number of threads. This module asserts dtypes and
layouts and hands addresses to `kernels.c`; nothing else calls it.

The extension needs no compiler at run time, only a C compiler when the package is
built. Where it could not be built, `available()` is False and the portable formulas
of `int8.py`, `deltas.py` and `layers.py` take over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from hub.engine.native.arena import WeightArena
from hub.engine.native.variants import (
    available,
    multiplies,
    obey_environment,
    using,
    variant,
    variants,
)
from hub.engine.native.variants import kernels as _kernels

__all__ = [
    "MOST_KEPT", "NO_NORM", "AdapterRows", "AdapterWeights", "NormKind", "NormStep",
    "PackedWeight", "Places", "Ranking", "WeightArena", "adapt", "attend", "available", "finish",
    "multiplies", "multiply", "quantize", "read", "using", "variant", "variants",
]  # fmt: skip

NormKind = Literal["none", "layer", "rms"]

MOST_KEPT: Final = 128
"""Most tokens that `Ranking` keeps for a row."""

_NORMS: Final = {"none": 0, "layer": 1, "rms": 2}
_ACTIVATIONS: Final = {"": 0, "relu": 1, "gelu": 2}


obey_environment()  # before anything runs: what is forced must not be missed


@dataclass(frozen=True, slots=True)
class NormStep:
    """A norm that runs in front of quantizing: `(x - mean) / std * weight + bias`.

    Attributes:
        weight: `(width,)` float32, None for 1.
        bias: `(width,)` float32, None for 0.
    """

    kind: NormKind
    epsilon: float
    weight: Tensor | None = None
    bias: Tensor | None = None


NO_NORM: Final = NormStep("none", 0.0)


def quantize(x: Tensor, out: Tensor, norm: NormStep = NO_NORM) -> Tensor:
    """Normalise and quantize rows around 128, each by its own largest magnitude.

    Args:
        x: `(rows, width)` float32, rows may be strided.
        out: `(rows or more, width)` uint8, contiguous; written.
        norm: What runs first.

    Returns:
        `(rows, 1)` largest magnitude of each row; NaN where a row holds one.
    """
    rows, width = x.shape
    assert x.dtype == torch.float32
    assert x.stride(1) == 1
    assert out.dtype == torch.uint8
    assert out.is_contiguous()
    assert out.shape[0] >= rows
    assert out.shape[1] == width
    scale = torch.empty((rows, 1))
    _kernels.quantize(
        x.data_ptr(), rows, width, x.stride(0), _NORMS[norm.kind], _address(norm.weight),
        _address(norm.bias), norm.epsilon, out.data_ptr(), scale.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    return scale


def finish(x: Tensor, scale: Tensor, bias: Tensor | None, onto: Tensor | None = None) -> None:
    """Do `x = x * scale + bias` in place; with `onto`, also `onto += x`.

    Args:
        x: `(rows, width)` float32, contiguous.
        scale: `(rows, 1)`.
        bias: `(width,)` or None.
        onto: `(rows, width)` float32.
    """
    rows, width = x.shape
    assert x.dtype == scale.dtype == torch.float32
    assert x.is_contiguous()
    assert scale.numel() >= rows
    assert onto is None or (onto.shape == x.shape and onto.stride(1) == 1)
    _kernels.finish(
        x.data_ptr(), rows, width, scale.data_ptr(), _address(bias), _address(onto),
        0 if onto is None else onto.stride(0), torch.get_num_threads(),
    )  # fmt: skip


_PANEL: Final = 32


@dataclass(frozen=True, slots=True)
class PackedWeight:
    """An 8-bit weight, laid out for `multiply`.

    Attributes:
        panels: `(out / 32, in / 4, 32, 4)` int8, both rounded up.
        scale: `(out,)` float32; it holds the 1/127 of the activations.
        offset: `(out,)` int32, what the zero point of the activations adds to a sum.
        bias: `(out,)` float32 or None.
    """

    panels: Tensor
    scale: Tensor
    offset: Tensor
    bias: Tensor | None

    @classmethod
    def pack(
        cls, quantized: Tensor, scale: Tensor, bias: Tensor | None, arena: WeightArena
    ) -> PackedWeight:
        """Lay out a weight `(out, in)` int8."""
        out, width = quantized.shape
        padded = torch.nn.functional.pad(quantized, (0, -width % 4, 0, -out % _PANEL))
        # Four values are moved as one: that takes a fraction of the time.
        words = padded.contiguous().view(torch.int32)
        split = words.view(words.shape[0] // _PANEL, _PANEL, words.shape[1]).transpose(1, 2)
        return cls(
            panels=arena.keep(split.contiguous().view(torch.int8).view(*split.shape, 4)),
            scale=scale.contiguous(),
            offset=quantized.sum(1, dtype=torch.int32).mul_(128),
            bias=bias,
        )

    def rows(self, index: Tensor) -> Tensor:
        """Return rows `(n, in rounded up)` int8 of the weight, for `index (n,)`."""
        words = self.panels.view(torch.int32).squeeze(3)
        return words[index // _PANEL, :, index % _PANEL].view(torch.int8)


def multiply(
    values: Tensor,
    scale: Tensor,
    weight: PackedWeight,
    out: Tensor,
    *,
    add: bool = False,
) -> None:
    """Do `out = x @ weight.T + bias`, or `out += x @ weight.T + bias`.

    Args:
        values: `(rows or more, in)` uint8 around 128, contiguous; in a multiple of 4.
        scale: `(rows, 1)` largest magnitude of each row.
        weight: What to multiply with.
        out: `(rows, out)` float32, rows may be strided.
        add: Add to what `out` holds.
    """
    rows, width = out.shape
    assert values.dtype == torch.uint8
    assert out.dtype == scale.dtype == torch.float32
    assert values.is_contiguous()
    assert out.stride(1) == 1
    assert values.shape[0] >= rows
    assert values.shape[1] == 4 * weight.panels.shape[1]
    assert scale.numel() >= rows
    assert width == len(weight.scale)
    _kernels.multiply(
        values.data_ptr(), rows, values.stride(0), weight.panels.shape[1],
        weight.panels.data_ptr(), width, weight.scale.data_ptr(), weight.offset.data_ptr(),
        _address(weight.bias), scale.data_ptr(), out.data_ptr(), out.stride(0), add,
        torch.get_num_threads(),
    )  # fmt: skip


def read(memory: Tensor, threads: int) -> int:
    """Read all of a contiguous tensor, and return the sum of its 64-bit words, modulo 2^64.

    It tells how fast memory can be read at most.
    """
    assert memory.is_contiguous()
    return _kernels.read(memory.data_ptr(), memory.nbytes // 8, threads)


@dataclass(frozen=True, slots=True)
class AdapterRows:
    """Which rows meet which rank rows of a page; int64, `(n,)` each.

    Attributes:
        index: Rows.
        offsets: First rank row of each one's adapter.
        ranks: Number of its rank rows.
        most: The largest of them.
    """

    index: Tensor
    offsets: Tensor
    ranks: Tensor
    most: int


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """Where one layer's part of a page lies, for `adapt`; 0 for what is not there.

    The tensors must outlive it and never move.
    """

    in_width: int
    out_width: int
    down: int
    down_sum: int
    rank_scale: int
    down_bias: int
    up: int
    up_scale: int
    up_bias: int

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], layer: int) -> AdapterWeights:
        """Look up a page's tensors (`hub.engine.banks.BankPart`), which hold all layers."""

        def part(name: str) -> int:
            return tensors[name][layer].data_ptr() if name in tensors else 0

        return cls(
            tensors["down"].shape[2], tensors["up"].shape[2], part("down"), part("down_sum"),
            part("rank_scale"), part("down_bias"), part("up"), part("up_scale"), part("up_bias"),
        )  # fmt: skip


def adapt(
    values: Tensor,
    scale: Tensor,
    rows: AdapterRows,
    weights: AdapterWeights,
    activation: str,
    out: Tensor,
) -> None:
    """Add `up(act(down(x)))` of each row's own adapter to `out`, in place.

    Args:
        values: `(all rows or more, in)` uint8, contiguous.
        scale: `(all rows, 1)`.
        rows: The rows to adapt.
        weights: What their intervals lie in.
        activation: "", "relu" or "gelu".
        out: `(all rows, out)` float32, rows may be strided.
    """
    assert values.dtype == torch.uint8
    assert out.dtype == scale.dtype == torch.float32
    assert values.is_contiguous()
    assert values.shape[1] == weights.in_width
    assert out.shape[1] == weights.out_width
    assert out.stride(1) == 1
    _kernels.adapt(
        values.data_ptr(), scale.data_ptr(), rows.index.data_ptr(), len(rows.index),
        rows.offsets.data_ptr(), rows.ranks.data_ptr(), weights.in_width, weights.down,
        weights.down_sum, weights.rank_scale, weights.down_bias, weights.up, weights.up_scale,
        weights.up_bias, weights.out_width, out.data_ptr(), out.stride(0), rows.most,
        _ACTIVATIONS[activation], torch.get_num_threads(),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Places:
    """Where rows find their keys and values, and how many are theirs.

    Attributes:
        owners: `(rows,)` int64, index of each row's keys and values in the cache.
        lengths: `(rows,)` int64, positions that the row sees, its own included.
        longest: The largest of them.
    """

    owners: Tensor
    lengths: Tensor
    longest: int


def attend(
    queries: Tensor,
    cache: Tensor,
    places: Places,
    out: Tensor,
    *,
    append: bool,
    scale: float,
    bias: Tensor | None = None,
) -> None:
    """Attend with one query a row over its own cached positions.

    Args:
        queries: `(rows, heads * head_dim)` float32, or with keys and values behind them,
            `(rows, 3 * heads * head_dim)`.
        cache: `(2, owners, heads, positions, head_dim)` bfloat16, one layer's.
        places: Each row's owner and length.
        out: `(rows, heads * head_dim)` float32, contiguous; written.
        append: First write the keys and values behind the queries to the last position.
        scale: Factor on the products.
        bias: `(heads, distances)` float32, added by the distance between query and key.
    """
    assert cache.dtype == torch.bfloat16
    assert cache.stride(4) == 1
    assert queries.dtype == out.dtype == torch.float32
    assert queries.stride(1) == 1
    assert out.is_contiguous()
    assert len(queries) == len(out) == len(places.owners) == len(places.lengths)
    heads, _, head_dim = cache.shape[2:]
    inner = heads * head_dim
    own = queries.data_ptr() + 4 * inner if append else 0
    _kernels.attend(
        queries.data_ptr(), len(queries), queries.stride(0), own, cache[0].data_ptr(),
        cache[1].data_ptr(), cache.stride(1), cache.stride(2), places.owners.data_ptr(),
        places.lengths.data_ptr(), heads, head_dim, scale, _address(bias),
        0 if bias is None else bias.stride(0), places.longest, out.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip


class Ranking:
    """The likeliest tokens of each row, found while the logits pass by in parts."""

    def __init__(
        self,
        rows: int,
        keep: int,
        blocked_rows: Tensor,
        blocked: Tensor,
        barred: Sequence[int] = (),
    ) -> None:
        """Start without logits.

        Args:
            rows: Number of rows.
            keep: How many tokens to keep of each, at most `MOST_KEPT`.
            blocked_rows: `(rows,)` bool, rows that may not take the blocked tokens.
            blocked: `(n,)` int64, token ids.
            barred: Tokens that no row may take.
        """
        assert 1 <= keep <= MOST_KEPT
        self._values = torch.full((rows, keep), -torch.inf)
        self._tokens = torch.zeros((rows, keep), dtype=torch.int64)
        self._state = torch.tensor([-torch.inf, 0.0, 0.0]).repeat(rows, 1)
        self._blocked_rows = blocked_rows
        # Those of every row come first: a row that is not blocked reads no further.
        self._blocked = torch.cat([torch.tensor(list(barred), dtype=torch.int64), blocked])
        self._barred = len(barred)

    def update(self, logits: Tensor, first: int) -> None:
        """Take in the logits of the tokens from `first` on.

        Args:
            logits: `(rows, n)` float32, contiguous.
            first: Token id of the first column.
        """
        rows, width = logits.shape
        assert logits.dtype == torch.float32
        assert logits.is_contiguous()
        assert rows == len(self._values) == len(self._blocked_rows)
        _kernels.rank_tokens(
            logits.data_ptr(), rows, width, first, self._blocked_rows.data_ptr(),
            self._blocked.data_ptr(), self._barred, len(self._blocked), self._values.shape[1],
            self._values.data_ptr(), self._tokens.data_ptr(), self._state.data_ptr(),
            torch.get_num_threads(),
        )  # fmt: skip

    def best(self) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and tokens, `(rows, keep)` each, best first.

        The log-probabilities are those of the logits as they came, blocked tokens included. A
        row whose logits hold NaN gets NaN.
        """
        largest, total, undefined = self._state.unbind(1)
        normaliser = largest + total.log()
        normaliser = torch.where(undefined > 0, torch.nan, normaliser)
        return self._values - normaliser.unsqueeze(1), self._tokens


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
