"""Which precision goes with which device, and the floats of a GPU."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from hub.engine import linear
from hub.engine.devices import CPU
from hub.engine.int8 import Int8Precision
from hub.engine.linear import (
    Embedding,
    Linear,
    Operand,
    Precision,
    Quantization,
    RowNorm,
    Table,
)
from hub.errors import SettingsError

BLOCK_ROWS: Final = 64
"""Rows of every product on a GPU, padded where there are fewer.

cuBLAS and bitsandbytes choose a kernel, and with it an order of summation, by the number of rows.
One number of rows means one kernel for each weight.
"""

_FLOATS: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_BITSANDBYTES: Final = ("bnb-int8", "nf4")
_CPU_DEFAULT: Final[Quantization] = "int8"
_GPU_DEFAULT: Final[Quantization] = "bfloat16"
_ALL: Final = "auto, float32, bfloat16, float16, int8, bnb-int8 or nf4"

_log = logging.getLogger("adapterhub.engine")


def find_precision(name: str, device: torch.device = CPU) -> Precision:
    """Return the precision of a setting on a device; "auto" is the device's default.

    Raises:
        SettingsError: The name is unknown, does not go with the device, or needs bitsandbytes
            where that is not installed.
    """
    if name == "auto":
        name = _CPU_DEFAULT if device.type == "cpu" else _GPU_DEFAULT
    if name in _BITSANDBYTES:
        return _bitsandbytes(name, device)
    if name == "int8":
        _check_int8(device)
        return Int8Precision()
    if name not in _FLOATS:
        raise SettingsError(f"quantization is {name!r}, give {_ALL}", field="quantization")
    if device.type != "cpu":
        return FixedFloatPrecision(name, _FLOATS[name])  # type: ignore[arg-type]
    return linear.FloatPrecision(name, _FLOATS[name])  # type: ignore[arg-type]


def _check_int8(device: torch.device) -> None:
    if device.type != "cpu":
        raise SettingsError(
            f"quantization is 'int8' on {str(device)!r}, its kernels run on CPUs only; on a GPU "
            "give bfloat16 or float16, or bnb-int8 or nf4 to save memory",
            field="quantization",
        )


def _bitsandbytes(name: str, device: torch.device) -> Precision:
    from hub.engine import bnb

    bnb.check_installed(name)
    if device.type == "cpu":
        _log.warning("%s on a CPU is for trying it out: int8 is faster", name)
    if name == "nf4":
        return bnb.Nf4Precision(device)
    _log.warning(
        "bnb-int8 picks outlier columns over the whole batch: a row's result depends on the rows "
        "beside it. Use it for its memory only; nf4 and bfloat16 do not share columns"
    )
    return bnb.BnbInt8Precision(device)


def fixed_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return `x @ weight.T + bias` from products of exactly `BLOCK_ROWS` rows each.

    Args:
        x: `(rows, in)`.
        weight: `(out, in)`, same dtype.
        bias: `(out,)` or None.
    """
    blocks = [functional.linear(block, weight, bias) for block in fixed_blocks(x)]
    return (blocks[0] if len(blocks) == 1 else torch.cat(blocks))[: x.shape[0]]


def fixed_blocks(x: Tensor) -> tuple[Tensor, ...]:
    """Return rows in blocks of exactly `BLOCK_ROWS`, the last one padded with zeros."""
    spare = -x.shape[0] % BLOCK_ROWS
    padded = functional.pad(x, (0, 0, 0, spare)) if spare else x
    return torch.split(padded, BLOCK_ROWS)


@dataclass(frozen=True, slots=True)
class FixedFloatPrecision:
    """Weights and activations in one floating dtype, products of one number of rows."""

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
        converted = None if bias is None else bias.to(self.hidden_dtype)
        return FixedLinear(weight.to(self.hidden_dtype), converted)

    def tied(self, weight: Tensor, scale: float) -> tuple[Embedding, Table]:
        """Convert a table once for both of its uses."""
        table = weight.to(self.hidden_dtype)
        return FloatEmbedding(table, scale), FixedLinear(table, None)

    def output(self, weight: Tensor) -> Table:
        """Convert an output projection."""
        return FixedLinear(weight.to(self.hidden_dtype), None)

    def table_rows(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        """Convert rows of a token table."""
        return weight.to(self.hidden_dtype), None

    def table_of(
        self, values: Tensor, row_scale: Tensor | None, scale: float
    ) -> tuple[Embedding, Linear]:
        """Return rows in both uses of a table."""
        return FloatEmbedding(values, scale), FixedLinear(values, None)


@dataclass(frozen=True, slots=True)
class FixedLinear:
    """A float weight whose products all have the same shape."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Operand) -> Tensor:
        """Return `(rows, out)`."""
        return fixed_product(x.values[: x.rows], self.weight, self.bias)

    def add_to(self, hidden: Tensor, x: Operand) -> None:
        """Add the product to `hidden (rows, out)`, in place."""
        hidden += self(x)

    @property
    def row_bytes(self) -> int:
        """Bytes of each output's weights."""
        return self.weight.shape[1] * self.weight.itemsize

    def select(self, index: Tensor) -> Linear:
        """Return the product onto some outputs `(n,)`."""
        bias = None if self.bias is None else self.bias.index_select(0, index)
        return FixedLinear(self.weight.index_select(0, index), bias)


@dataclass(frozen=True, slots=True)
class FloatEmbedding:
    """A float token table."""

    weight: Tensor
    scale: float

    def __call__(self, ids: Tensor) -> Tensor:
        """Return `(tokens, d_model)`."""
        return self.weight.index_select(0, ids).mul_(self.scale)
