"""Matrix products behind one interface, and those of floats on a CPU.

A row's result must not depend on the rows beside it. Each precision keeps that
in its own way:

- int8: activations are scaled by their own row's largest magnitude, and products
  are summed as integers, which is exact in any order. The rest of the way runs in
  compiled kernels where they could be built (`hub.engine.native`).
- float32, bfloat16: BLAS picks another summation order for another number of
  rows. Rows therefore run in blocks of at most 64, padded to a multiple of 16,
  inside which the order was measured to be the same (docs/engine.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from hub.engine import native

Quantization = Literal["float32", "bfloat16", "float16", "int8", "bnb-int8", "nf4"]

_BLOCK_ROWS = 64
_ROW_MULTIPLE = 16


@dataclass(frozen=True, slots=True)
class Operand:
    """Rows of activations, prepared once for every product that reads them.

    Attributes:
        values: `(rows or more, width)`; padding rows hold anything finite.
        scale: `(rows, 1)` largest magnitude of each row, None for floats.
        rows: Number of real rows.
    """

    values: Tensor
    scale: Tensor | None
    rows: int


class Linear(Protocol):
    """`x @ weight.T + bias` for prepared rows."""

    def __call__(self, x: Operand) -> Tensor:
        """Return `(rows, out_features)` in the hidden dtype."""
        ...

    def add_to(self, hidden: Tensor, x: Operand) -> None:
        """Add the product to `hidden (rows, out_features)`, in place."""
        ...


class Table(Linear, Protocol):
    """The output projection: a row of weights for each token."""

    @property
    def row_bytes(self) -> int:
        """Bytes that `select` takes for each token; 0 where it cannot pack some of them."""
        ...

    def select(self, index: Tensor) -> Linear:
        """Return the projection onto some tokens `(n,)`, packed anew.

        Products of 8 bits are the same numbers as those of the whole table.
        """
        ...


class RowNorm(Protocol):
    """A norm over the last dimension."""

    @property
    def step(self) -> native.NormStep:
        """The norm as the compiled kernels take it."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """Return `x` normalised."""
        ...


class Embedding(Protocol):
    """A scaled token table."""

    def __call__(self, ids: Tensor) -> Tensor:
        """Return `(tokens, d_model)` for ids `(tokens,)`, in the hidden dtype."""
        ...


class Precision(Protocol):
    """How weights are stored and multiplied."""

    @property
    def name(self) -> Quantization:
        """The quantization's name in settings."""
        ...

    @property
    def hidden_dtype(self) -> torch.dtype:
        """Dtype between products: residuals, norms, attention."""
        ...

    @property
    def cache_dtype(self) -> torch.dtype:
        """Dtype of cached keys and values."""
        ...

    def operand(self, x: Tensor) -> Operand:
        """Prepare rows `(rows, width)`."""
        ...

    def normed(self, norm: RowNorm, x: Tensor) -> Operand:
        """Prepare normalised rows."""
        ...

    def linear(self, weight: Tensor, bias: Tensor | None) -> Linear:
        """Pack a float32 weight `(out, in)` and bias `(out,)`."""
        ...

    def tied(self, weight: Tensor, scale: float) -> tuple[Embedding, Table]:
        """Pack a float32 token table `(vocab, d_model)` that also projects the output."""
        ...

    def output(self, weight: Tensor) -> Table:
        """Pack a float32 output projection `(vocab, d_model)` of its own."""
        ...

    def table_rows(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        """Convert float32 rows `(n, d_model)` of a token table, as `tied` does.

        Returns:
            Values `(n, d_model)`, and scales `(n,)` where these are int8.
        """
        ...

    def table_of(
        self, values: Tensor, row_scale: Tensor | None, scale: float
    ) -> tuple[Embedding, Linear]:
        """Return converted rows in both uses of a table, in memory that goes when they do."""
        ...


def float_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return `x @ weight.T + bias` in blocks whose summation order is fixed.

    Args:
        x: `(rows, in)`.
        weight: `(out, in)`, same dtype.
        bias: `(out,)` or None.
    """
    rows = x.shape[0]
    if rows > _BLOCK_ROWS:
        starts = range(0, rows, _BLOCK_ROWS)
        return torch.cat([float_product(x[i : i + _BLOCK_ROWS], weight, bias) for i in starts])
    spare = -rows % _ROW_MULTIPLE
    padded = functional.pad(x, (0, 0, 0, spare)) if spare else x
    return functional.linear(padded, weight, bias)[:rows]


@dataclass(frozen=True, slots=True)
class FloatPrecision:
    """Weights and activations in one floating dtype."""

    name: Quantization
    hidden_dtype: torch.dtype

    @property
    def cache_dtype(self) -> torch.dtype:
        """Dtype of cached keys and values."""
        return self.hidden_dtype

    def operand(self, x: Tensor) -> Operand:
        """Pass rows through."""
        return Operand(x, None, x.shape[0])

    def normed(self, norm: RowNorm, x: Tensor) -> Operand:
        """Normalise rows."""
        return self.operand(norm(x))

    def linear(self, weight: Tensor, bias: Tensor | None) -> Linear:
        """Convert a weight."""
        return _FloatLinear(
            weight.to(self.hidden_dtype), None if bias is None else bias.to(self.hidden_dtype)
        )

    def tied(self, weight: Tensor, scale: float) -> tuple[Embedding, Table]:
        """Convert a table once for both of its uses."""
        table = weight.to(self.hidden_dtype)
        return _FloatEmbedding(table, scale), _FloatLinear(table, None)

    def output(self, weight: Tensor) -> Table:
        """Convert an output projection."""
        return _FloatLinear(weight.to(self.hidden_dtype), None)

    def table_rows(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        """Convert rows of a token table."""
        return weight.to(self.hidden_dtype), None

    def table_of(
        self, values: Tensor, row_scale: Tensor | None, scale: float
    ) -> tuple[Embedding, Linear]:
        """Return rows in both uses of a table."""
        return _FloatEmbedding(values, scale), _FloatLinear(values, None)


@dataclass(frozen=True, slots=True)
class _FloatLinear:
    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Operand) -> Tensor:
        return float_product(x.values, self.weight, self.bias)

    def add_to(self, hidden: Tensor, x: Operand) -> None:
        hidden += self(x)

    @property
    def row_bytes(self) -> int:
        return self.weight.shape[1] * self.weight.itemsize

    def select(self, index: Tensor) -> Linear:
        bias = None if self.bias is None else self.bias.index_select(0, index)
        return _FloatLinear(self.weight.index_select(0, index), bias)


@dataclass(frozen=True, slots=True)
class _FloatEmbedding:
    weight: Tensor
    scale: float

    def __call__(self, ids: Tensor) -> Tensor:
        return self.weight.index_select(0, ids).mul_(self.scale)
