"""Matrix products behind one interface: float32, bfloat16, CPU int8.

A row's result must not depend on the rows beside it. Each precision keeps that
in its own way:

- int8: activations are scaled by their own row's largest magnitude, and products
  are summed as integers, which is exact in any order.
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

from hub.errors import SettingsError

Quantization = Literal["float32", "bfloat16", "float16", "int8", "bnb-int8", "nf4"]

_BLOCK_ROWS = 64
_ROW_MULTIPLE = 16
_FEWEST_ROWS = 4
_LEVELS = 127
_TINY = 1e-30

ZERO_POINT = 128
"""Value that stands for 0 in quantized activations. They are unsigned because oneDNN has fast
kernels for unsigned times signed on every CPU with AVX2 or newer; signed times signed falls back
to its reference kernel where there is no AMX, a thousand times slower."""


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
        """Dtype between products: residuals, norms, attention, caches."""
        ...

    def operand(self, x: Tensor) -> Operand:
        """Prepare rows `(rows, width)`."""
        ...

    def linear(self, weight: Tensor, bias: Tensor | None) -> Linear:
        """Pack a float32 weight `(out, in)` and bias `(out,)`."""
        ...

    def tied(self, weight: Tensor, scale: float) -> tuple[Embedding, Linear]:
        """Pack a float32 token table `(vocab, d_model)` that also projects the output."""
        ...


def find_precision(name: str) -> Precision:
    """Return the precision of a name.

    Raises:
        SettingsError: The name is unknown.
    """
    if name == "float32":
        return FloatPrecision("float32", torch.float32)
    if name == "bfloat16":
        return FloatPrecision("bfloat16", torch.bfloat16)
    if name == "int8":
        return Int8Precision()
    raise SettingsError(
        f"quantization is {name!r}, give float32, bfloat16 or int8", field="quantization"
    )


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

    def operand(self, x: Tensor) -> Operand:
        """Pass rows through."""
        return Operand(x, None, x.shape[0])

    def linear(self, weight: Tensor, bias: Tensor | None) -> Linear:
        """Convert a weight."""
        return _FloatLinear(
            weight.to(self.hidden_dtype), None if bias is None else bias.to(self.hidden_dtype)
        )

    def tied(self, weight: Tensor, scale: float) -> tuple[Embedding, Linear]:
        """Convert a table once for both of its uses."""
        table = weight.to(self.hidden_dtype)
        return _FloatEmbedding(table, scale), _FloatLinear(table, None)


@dataclass(frozen=True, slots=True)
class _FloatLinear:
    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Operand) -> Tensor:
        return float_product(x.values, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class _FloatEmbedding:
    weight: Tensor
    scale: float

    def __call__(self, ids: Tensor) -> Tensor:
        return self.weight.index_select(0, ids).mul_(self.scale)


def row_magnitude(x: Tensor) -> Tensor:
    """Return the largest magnitude of each row, `(rows, 1)`, never 0."""
    return x.abs().amax(1, keepdim=True).clamp_min_(_TINY)


def weight_levels() -> int:
    """Return the largest quantized weight that every kernel multiplies exactly.

    Without VNNI, two products are added in 16 bits: 7-bit weights keep that from saturating.
    """
    return _LEVELS if torch.cpu._is_vnni_supported() else _LEVELS // 2


def quantize_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 `(..., in)` and float32 scales `(...)`, one per output row.

    The scales already hold the activations' 1/127, so that
    `x @ w.T == quantized product * weight scale * row magnitude`.
    """
    levels = weight_levels()
    magnitude = weight.abs().amax(-1).clamp_min(_TINY)
    quantized = (weight * (levels / magnitude).unsqueeze(-1)).round_().to(torch.int8)
    return quantized, magnitude / (levels * _LEVELS)


def signed(values: Tensor) -> Tensor:
    """Return quantized activations as int8, without their zero point."""
    return values.bitwise_xor(ZERO_POINT).view(torch.int8)


def padded_rows(rows: int) -> int:
    """Return the number of rows to run: few distinct shapes, so few kernels to generate.

    Never a single row: for many widths oneDNN answers that with its reference kernel, measured
    60 to 500 times slower than four rows.
    """
    if rows <= 8:
        return max(rows, _FEWEST_ROWS)
    step = 8 if rows <= 64 else 32 if rows <= 256 else 128
    return -(-rows // step) * step


@dataclass(frozen=True, slots=True)
class Int8Precision:
    """8-bit weights, one scale per output; 8-bit activations, one scale per row."""

    name: Quantization = "int8"
    hidden_dtype: torch.dtype = torch.float32

    def operand(self, x: Tensor) -> Operand:
        """Quantize rows, each by its own largest magnitude."""
        rows, width = x.shape
        scale = row_magnitude(x)
        values = torch.empty((padded_rows(rows), width), dtype=torch.uint8)
        values[:rows].copy_((x * (_LEVELS / scale)).round_().add_(ZERO_POINT))
        return Operand(values, scale, rows)

    def linear(self, weight: Tensor, bias: Tensor | None) -> Linear:
        """Quantize and pack a weight."""
        return _pack(*quantize_weight(weight), bias)

    def tied(self, weight: Tensor, scale: float) -> tuple[Embedding, Linear]:
        """Quantize a table, one scale per token."""
        quantized, scales = quantize_weight(weight)
        embedding = _Int8Embedding(quantized, (scales * (_LEVELS * scale)).unsqueeze(1))
        return embedding, _pack(quantized, scales, None)


def _pack(quantized: Tensor, scale: Tensor, bias: Tensor | None) -> Linear:
    zeros = torch.zeros(quantized.shape[0], dtype=torch.int32)
    packed = torch.ops.onednn.qlinear_prepack(quantized, None)
    return _Int8Linear(packed, scale, zeros, bias)


@dataclass(frozen=True, slots=True)
class _Int8Linear:
    packed: Tensor
    scale: Tensor
    zeros: Tensor
    bias: Tensor | None

    def __call__(self, x: Operand) -> Tensor:
        assert x.scale is not None
        product = torch.ops.onednn.qlinear_pointwise(
            x.values, 1.0, ZERO_POINT, self.packed, self.scale, self.zeros,
            None, 1.0, 0, torch.float32, "none", [], "",
        )[: x.rows]  # fmt: skip
        if self.bias is None:
            return product.mul_(x.scale)  # type: ignore[no-any-return]
        return torch.addcmul(self.bias, product, x.scale)


@dataclass(frozen=True, slots=True)
class _Int8Embedding:
    weight: Tensor
    scale: Tensor

    def __call__(self, ids: Tensor) -> Tensor:
        return self.weight.index_select(0, ids) * self.scale.index_select(0, ids)
