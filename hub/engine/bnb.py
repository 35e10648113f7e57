"""Two precisions of bitsandbytes, offered for the memory they save on a GPU.

- `nf4`: 4-bit NormalFloat weights, one scale per 64 (QLoRA, Dettmers et al. 2023, arXiv
  2305.14314, section 3), multiplied in the hidden dtype. bitsandbytes chooses between kernels by
  the number of rows (one to four rows, a few dozen, many): every product here has the same number
  of rows, so a weight always meets the same kernel.
- `bnb-int8`: LLM.int8() (Dettmers et al. 2022, arXiv 2208.07339, section 3): activations in
  8 bits, one scale per row, except for columns that hold a value above 6, which stay in 16 bits.
  One row's outlier sends its column there for *every* row of the product, so rows feel their
  neighbours. Nothing here can mend that.

The token table stays in the hidden dtype: rows of it are looked up, and the output projection is
where quantization costs most.
"""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from hub.engine.linear import Embedding, Linear, Operand, Quantization, RowNorm, Table
from hub.engine.precisions import FixedLinear, FloatEmbedding, fixed_blocks
from hub.errors import SettingsError

PACKAGE: Final = "bitsandbytes"
BLOCK_SIZE: Final = 64
"""Weights that share a scale in nf4.

Rows of weights are padded to a multiple of it. Without that a block would hold the end of one row
and the start of the next: kernels for GPUs then take a slower path, and bitsandbytes 0.50.2 reads
such weights wrongly on a CPU.
"""

OUTLIER: Final = 6.0
"""Magnitude from which LLM.int8() keeps an activation's column in 16 bits (its section 3.2)."""


def check_installed(name: str) -> None:
    """Check that bitsandbytes can be imported.

    Raises:
        SettingsError: It is not installed.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise SettingsError(
            f"quantization is {name!r}, which needs {PACKAGE}; run `pip install {PACKAGE}`, or "
            "give bfloat16",
            field="quantization",
        )


def _library() -> Any:
    """Import bitsandbytes, without its advice to fetch kernels at run time."""
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    return importlib.import_module(PACKAGE)


@dataclass(frozen=True, slots=True)
class Nf4Precision:
    """4-bit NormalFloat weights, activations in the hidden dtype."""

    device: torch.device
    name: Quantization = "nf4"
    hidden_dtype: torch.dtype = torch.bfloat16

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
        """Quantize a weight on the device."""
        library = _library()
        converted = weight.to(self.device, self.hidden_dtype)
        packed, state = library.functional.quantize_4bit(
            _whole_blocks(converted).contiguous(),
            blocksize=BLOCK_SIZE,
            quant_type="nf4",
        )
        return Nf4Linear(packed, state, _moved_bias(self, bias), library.matmul_4bit)

    def tied(self, weight: Tensor, scale: float) -> tuple[Embedding, Table]:
        """Keep a token table in the hidden dtype."""
        return _tied(self, weight, scale)

    def output(self, weight: Tensor) -> Table:
        """Keep an output projection in the hidden dtype."""
        return _table(self, weight)

    def table_rows(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        """Keep rows of a token table in the hidden dtype."""
        return weight.to(self.hidden_dtype), None

    def table_of(
        self, values: Tensor, row_scale: Tensor | None, scale: float
    ) -> tuple[Embedding, Linear]:
        """Return rows in both uses of a table."""
        return FloatEmbedding(values, scale), FixedLinear(values, None)


class Nf4Linear:
    """A packed 4-bit weight."""

    def __init__(self, packed: Tensor, state: Any, bias: Tensor | None, matmul: Any) -> None:
        """Keep what bitsandbytes packed."""
        self.packed = packed
        self.state = state
        self.bias = bias
        self._matmul = matmul

    def __call__(self, x: Operand) -> Tensor:
        """Return `(rows, out)`, from products of one number of rows."""
        blocks = [
            self._matmul(block, self.packed, quant_state=self.state, bias=self.bias)
            for block in fixed_blocks(_whole_blocks(x.values[: x.rows]))
        ]
        return (blocks[0] if len(blocks) == 1 else torch.cat(blocks))[: x.rows]

    def add_to(self, hidden: Tensor, x: Operand) -> None:
        """Add the product to `hidden (rows, out)`, in place."""
        hidden += self(x)


def _whole_blocks(rows: Tensor) -> Tensor:
    """Return rows padded with zeros to a multiple of the block size."""
    spare = -rows.shape[1] % BLOCK_SIZE
    return functional.pad(rows, (0, spare)) if spare else rows


@dataclass(frozen=True, slots=True)
class BnbInt8Precision:
    """LLM.int8(): 8-bit weights and activations, outlier columns in 16 bits."""

    device: torch.device
    name: Quantization = "bnb-int8"
    hidden_dtype: torch.dtype = torch.bfloat16

    @property
    def cache_dtype(self) -> torch.dtype:
        """Dtype of cached keys and values."""
        return self.hidden_dtype

    def operand(self, x: Tensor) -> Operand:
        """Pass rows through; adapters read them in the hidden dtype."""
        return Operand(x, None, x.shape[0])

    def normed(self, norm: RowNorm, x: Tensor) -> Operand:
        """Normalise rows."""
        return self.operand(norm(x))

    def linear(self, weight: Tensor, bias: Tensor | None) -> Linear:
        """Quantize a weight on the device, one scale per output."""
        library = _library()
        half = weight.to(self.device, torch.float16).contiguous()
        quantized, scale, _ = library.functional.int8_vectorwise_quant(half)
        converted = None if bias is None else bias.to(self.device, torch.float16)
        return BnbInt8Linear(quantized, scale, converted, library)

    def tied(self, weight: Tensor, scale: float) -> tuple[Embedding, Table]:
        """Keep a token table in the hidden dtype."""
        return _tied(self, weight, scale)

    def output(self, weight: Tensor) -> Table:
        """Keep an output projection in the hidden dtype."""
        return _table(self, weight)

    def table_rows(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        """Keep rows of a token table in the hidden dtype."""
        return weight.to(self.hidden_dtype), None

    def table_of(
        self, values: Tensor, row_scale: Tensor | None, scale: float
    ) -> tuple[Embedding, Linear]:
        """Return rows in both uses of a table."""
        return FloatEmbedding(values, scale), FixedLinear(values, None)


class BnbInt8Linear:
    """An 8-bit weight with a scale per output."""

    def __init__(self, quantized: Tensor, scale: Tensor, bias: Tensor | None, library: Any) -> None:
        """Keep what bitsandbytes quantized: int8 `(out, in)` and float32 `(out,)`."""
        self.quantized = quantized
        self.scale = scale
        self.bias = bias
        self._matmul = library.matmul
        self._state = library.MatmulLtState()
        self._state.CB, self._state.SCB = quantized, scale
        self._state.has_fp16_weights = self._state.is_training = False

    def __call__(self, x: Operand) -> Tensor:
        """Return `(rows, out)` in the rows' dtype; outlier columns are chosen over all rows."""
        half = x.values[: x.rows].to(torch.float16)  # what LLM.int8() quantizes from
        product = self._matmul(
            half, self.quantized, state=self._state, threshold=OUTLIER, bias=self.bias
        )
        return product.to(x.values.dtype)  # type: ignore[no-any-return]

    def add_to(self, hidden: Tensor, x: Operand) -> None:
        """Add the product to `hidden (rows, out)`, in place."""
        hidden += self(x)


def _tied(
    precision: Nf4Precision | BnbInt8Precision, weight: Tensor, scale: float
) -> tuple[Embedding, Table]:
    output = _table(precision, weight)
    return FloatEmbedding(output.weight, scale), output


def _table(precision: Nf4Precision | BnbInt8Precision, weight: Tensor) -> FixedLinear:
    return FixedLinear(weight.to(precision.device, precision.hidden_dtype), None)


def _moved_bias(precision: Nf4Precision, bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.to(precision.device, precision.hidden_dtype)
