"""8-bit products on a CPU: weights by output, activations by row.

Products are ours where their kernels could be built (`hub.engine.native`), else oneDNN's. One copy
of a token table serves as input and as output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hub.engine import native
from hub.engine.linear import Embedding, Linear, Operand, Quantization, RowNorm, Table

_FEWEST_ROWS = 4
_LEVELS = 127
_TINY = 1e-30
_INPUTS = 4
_PART_TOKENS = 8192
_SCALE_BYTES = 8

ZERO_POINT = 128
"""Value that stands for 0 in quantized activations. They are unsigned because oneDNN has fast
kernels for unsigned times signed on every CPU with AVX2 or newer; signed times signed falls back
to its reference kernel where there is no AMX, a thousand times slower."""


def row_magnitude(x: Tensor) -> Tensor:
    """Return the largest magnitude of each row, `(rows, 1)`, never 0."""
    return x.abs().amax(1, keepdim=True).clamp_min_(_TINY)


def portable_levels() -> int:
    """Return the largest quantized weight that PyTorch's products multiply exactly.

    Without VNNI, oneDNN adds two products in 16 bits: 7-bit weights keep that from saturating.
    """
    return _LEVELS if torch.cpu._is_vnni_supported() else _LEVELS // 2


def quantize_weight(weight: Tensor, levels: int | None = None) -> tuple[Tensor, Tensor]:
    """Return int8 `(..., in)` and float32 scales `(...)`, one per output row.

    The scales already hold the activations' 1/127, so that
    `x @ w.T == quantized product * weight scale * row magnitude`.

    Args:
        weight: `(..., in)` float32.
        levels: Largest quantized magnitude, `portable_levels()` when not given.
    """
    levels = portable_levels() if levels is None else levels
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


def _arena() -> native.WeightArena | None:
    return native.WeightArena() if native.multiplies() else None


@dataclass(frozen=True, slots=True)
class Int8Precision:
    """8-bit weights, one scale per output; 8-bit activations, one scale per row.

    Attributes:
        compiled: Use the compiled kernels. They keep cached keys and values in bfloat16, whose
            error is smaller than that of 8-bit activations.
        arena: Where weights are laid out for our own products; None for oneDNN's.
    """

    name: Quantization = "int8"
    hidden_dtype: torch.dtype = torch.float32
    compiled: bool = field(default_factory=native.available)
    arena: native.WeightArena | None = field(default_factory=_arena)

    @property
    def cache_dtype(self) -> torch.dtype:
        """Dtype of cached keys and values."""
        return torch.bfloat16 if self.compiled else self.hidden_dtype

    def operand(self, x: Tensor) -> Operand:
        """Quantize rows, each by its own largest magnitude."""
        rows, width = x.shape
        values = torch.empty((padded_rows(rows), width), dtype=torch.uint8)
        if self.compiled:
            return Operand(values, native.quantize(x, values), rows)
        scale = row_magnitude(x)
        values[:rows].copy_((x * (_LEVELS / scale)).round_().add_(ZERO_POINT))
        return Operand(values, scale, rows)

    def normed(self, norm: RowNorm, x: Tensor) -> Operand:
        """Normalise and quantize rows."""
        if not self.compiled:
            return self.operand(norm(x))
        values = torch.empty((padded_rows(x.shape[0]), x.shape[1]), dtype=torch.uint8)
        return Operand(values, native.quantize(x, values, norm.step), x.shape[0])

    def linear(self, weight: Tensor, bias: Tensor | None) -> Linear:
        """Quantize and pack a weight."""
        return self._pack(*self._quantize(weight), bias)

    def tied(self, weight: Tensor, scale: float) -> tuple[Embedding, Table]:
        """Quantize a table, one scale per token."""
        quantized, scales = self._quantize(weight)
        output = self._vocabulary(quantized, scales)
        return self._embedding(quantized, scales, scale, output), output

    def output(self, weight: Tensor) -> Table:
        """Quantize an output projection."""
        return self._vocabulary(*self._quantize(weight))

    def table_rows(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        """Quantize rows of a token table, one scale per token."""
        return self._quantize(weight)

    def table_of(
        self, values: Tensor, row_scale: Tensor | None, scale: float
    ) -> tuple[Embedding, Linear]:
        """Return quantized rows in both uses of a table."""
        assert row_scale is not None
        if not self._ours(values.shape[1]):
            embedding = _Int8Embedding(values, (row_scale * (_LEVELS * scale)).unsqueeze(1))
            return embedding, _FewInt8Rows(values, row_scale)
        packed = replace(self, arena=native.WeightArena(values.numel()))
        output = packed._vocabulary(values, row_scale)
        return self._embedding(values, row_scale, scale, output), output

    def _embedding(
        self, quantized: Tensor, scales: Tensor, scale: float, output: Int8Vocabulary
    ) -> Embedding:
        scales = (scales * (_LEVELS * scale)).unsqueeze(1)
        if not self._ours(quantized.shape[1]):
            return _Int8Embedding(quantized, scales)
        return _PackedEmbedding(output, scales, quantized.shape[1])

    def _quantize(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Use all 8 bits where the product is ours: it is exact on every CPU."""
        return quantize_weight(weight, _LEVELS if self._ours(weight.shape[1]) else None)

    def _ours(self, width: int) -> bool:
        return self.arena is not None and width % _INPUTS == 0

    def _vocabulary(self, quantized: Tensor, scales: Tensor) -> Int8Vocabulary:
        starts = range(0, len(quantized), _PART_TOKENS)
        parts = [slice(start, start + _PART_TOKENS) for start in starts]
        linears = [self._pack(quantized[part], scales[part], None) for part in parts]
        return Int8Vocabulary(linears, self.compiled)

    def _pack(self, quantized: Tensor, scale: Tensor, bias: Tensor | None) -> Linear:
        if self.arena is not None and self._ours(quantized.shape[1]):
            return _PackedLinear(native.PackedWeight.pack(quantized, scale, bias, self.arena))
        zeros = torch.zeros(quantized.shape[0], dtype=torch.int32)
        packed = torch.ops.onednn.qlinear_prepack(quantized, None)
        return _OneDnnLinear(packed, scale.contiguous(), zeros, bias, self.compiled)


@dataclass(frozen=True, slots=True)
class _PackedLinear:
    weight: native.PackedWeight

    def __call__(self, x: Operand) -> Tensor:
        assert x.scale is not None
        out = torch.empty(x.rows, len(self.weight.scale))
        native.multiply(x.values, x.scale, self.weight, out)
        return out

    def add_to(self, hidden: Tensor, x: Operand) -> None:
        assert x.scale is not None
        native.multiply(x.values, x.scale, self.weight, hidden, add=True)


@dataclass(frozen=True, slots=True)
class _OneDnnLinear:
    packed: Tensor
    scale: Tensor
    zeros: Tensor
    bias: Tensor | None
    compiled: bool

    def __call__(self, x: Operand) -> Tensor:
        assert x.scale is not None
        product = self._raw(x)
        if self.compiled:
            native.finish(product, x.scale, self.bias)
            return product
        if self.bias is None:
            return product.mul_(x.scale)
        return torch.addcmul(self.bias, product, x.scale)

    def add_to(self, hidden: Tensor, x: Operand) -> None:
        assert x.scale is not None
        if self.compiled:
            native.finish(self._raw(x), x.scale, self.bias, onto=hidden)
        else:
            hidden += self(x)

    def _raw(self, x: Operand) -> Tensor:
        """Return the product `(rows, out)` before the rows' scales and the bias."""
        product: Tensor = _qlinear(
            x.values, 1.0, ZERO_POINT, self.packed, self.scale, self.zeros,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return product[: x.rows]


_qlinear = torch.ops.onednn.qlinear_pointwise.default


@dataclass(frozen=True, slots=True)
class _FewInt8Rows:
    """An int8 weight that comes and goes: oneDNN does not give back what it packed."""

    weight: Tensor
    scale: Tensor

    def __call__(self, x: Operand) -> Tensor:
        assert x.scale is not None
        product = torch._int_mm(signed(x.values[: x.rows]), self.weight.t())
        return product.mul(self.scale).mul_(x.scale)

    def add_to(self, hidden: Tensor, x: Operand) -> None:
        hidden += self(x)


@dataclass(frozen=True, slots=True)
class Int8Vocabulary:
    """The output projection in parts, whose logits stay in the cache until they are ranked.

    Attributes:
        compiled: There are kernels that rank them.
    """

    linears: Sequence[Linear]
    compiled: bool

    def parts(self, x: Operand) -> Iterator[tuple[int, Tensor]]:
        """Yield the first token id and the logits `(rows, part)` of each part."""
        for index, linear in enumerate(self.linears):
            yield index * _PART_TOKENS, linear(x)

    def __call__(self, x: Operand) -> Tensor:
        """Return logits `(rows, vocab)`."""
        return torch.cat([linear(x) for linear in self.linears], dim=1)

    def add_to(self, hidden: Tensor, x: Operand) -> None:
        """Add logits."""
        hidden += self(x)

    @property
    def row_bytes(self) -> int:
        """Bytes that `select` takes for each token; 0 where products are oneDNN's."""
        first = self.linears[0]
        if not isinstance(first, _PackedLinear):
            return 0
        return first.weight.panels.shape[1] * _INPUTS + _SCALE_BYTES

    def select(self, index: Tensor) -> Linear:
        """Return the projection onto some tokens `(n,)`, in memory that goes when it does."""
        assert self.row_bytes, "oneDNN does not give back what it packed"
        arena = native.WeightArena(len(index) * self.row_bytes)
        starts = range(0, len(index), _PART_TOKENS)
        parts = [index[start : start + _PART_TOKENS] for start in starts]
        return Int8Vocabulary([self._selected(part, arena) for part in parts], self.compiled)

    def _selected(self, index: Tensor, arena: native.WeightArena) -> Linear:
        quantized, scale = self.rows(index)
        return _PackedLinear(native.PackedWeight.pack(quantized, scale, None, arena))

    def rows(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return int8 rows `(n, in rounded up)` and their scales `(n,)`, for tokens `(n,)`."""
        part, row = index // _PART_TOKENS, index % _PART_TOKENS
        quantized: Tensor | None = None
        scale = torch.empty(len(index))
        for number in sorted(set(part.tolist())):
            linear = self.linears[number]
            assert isinstance(linear, _PackedLinear)
            own = (part == number).nonzero().squeeze(1)
            found = linear.weight.rows(row[own])
            if quantized is None:
                quantized = torch.empty((len(index), found.shape[1]), dtype=torch.int8)
            quantized[own] = found
            scale[own] = linear.weight.scale[row[own]]
        assert quantized is not None
        return quantized, scale


@dataclass(frozen=True, slots=True)
class _PackedEmbedding:
    """Reads token rows out of the output projection's panels: the table is kept once."""

    output: Int8Vocabulary
    scale: Tensor
    width: int

    def __call__(self, ids: Tensor) -> Tensor:
        rows, _ = self.output.rows(ids)
        return rows[:, : self.width].float().mul_(self.scale.index_select(0, ids))


@dataclass(frozen=True, slots=True)
class _Int8Embedding:
    weight: Tensor
    scale: Tensor

    def __call__(self, ids: Tensor) -> Tensor:
        return self.weight.index_select(0, ids) * self.scale.index_select(0, ids)
