"""The precisions of bitsandbytes, against products of the weights it gives back."""

from __future__ import annotations

import copy
import importlib.util
import statistics
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hub.engine.devices import CPU
from hub.engine.linear import Operand
from hub.engine.precisions import BLOCK_ROWS, find_precision

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)

NF4_LEVELS = (
    -1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0,
    0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0,
)  # fmt: skip
"""QLoRA (arXiv 2305.14314), appendix E."""


@pytest.fixture(scope="module")
def precision_of() -> Any:
    from hub.engine import bnb

    kinds: dict[str, Any] = {"nf4": bnb.Nf4Precision, "bnb-int8": bnb.BnbInt8Precision}
    return lambda name, dtype: kinds[name](CPU, hidden_dtype=dtype)


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def nf4(weight: Tensor) -> Tensor:
    """Weights as 4-bit NormalFloat keeps them, by the paper's formula, rows in whole blocks."""
    width = weight.shape[1]
    blocks = functional.pad(weight, (0, -width % 64)).reshape(-1, 64)
    scale = blocks.abs().amax(1, keepdim=True)
    levels = torch.tensor(NF4_LEVELS)
    nearest = (blocks.div(scale).unsqueeze(-1) - levels).abs().argmin(-1)
    return (levels[nearest] * scale).reshape(len(weight), -1)[:, :width]


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected).norm() / expected.norm())


@pytest.mark.parametrize("width", [128, 48, 96])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_nf4_multiplies_the_papers_levels(
    precision_of: Any, dtype: torch.dtype, width: int
) -> None:
    """Widths that are no multiple of 64 too: bitsandbytes 0.50.2 alone gets them wrong on a CPU."""
    precision = precision_of("nf4", dtype)
    weight, bias, x = numbers(96, width, seed=1), numbers(96, seed=2), numbers(5, width, seed=3)
    weight = weight.to(dtype).float()
    found = precision.linear(weight, bias)(precision.operand(x.to(dtype)))
    expected = functional.linear(x.to(dtype).float(), nf4(weight), bias)
    assert found.dtype is dtype
    assert relative(expected, functional.linear(x, weight, bias)) > 0.05
    assert relative(found, expected) < {torch.float32: 1e-5}.get(dtype, 0.01)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_llm_int8_keeps_outliers_in_16_bits(precision_of: Any, dtype: torch.dtype) -> None:
    precision = precision_of("bnb-int8", dtype)
    weight, bias, x = numbers(96, 128, seed=1), numbers(96, seed=2), numbers(5, 128, seed=3)
    x[2, 7] = 400.0
    scale = weight.abs().amax(1, keepdim=True) / 127
    eight_bits = (weight / scale).round() * scale
    found = precision.linear(weight, bias)(precision.operand(x.to(dtype)))
    expected = functional.linear(x, eight_bits, bias)
    assert found.dtype is dtype
    # One scale for the whole row would leave steps of 400 / 127, which drown the rest of the row.
    # Columns with outliers take no part in the scale.
    rest = x[2].clone()
    rest[7] = 0
    drowned = (rest / (400 / 127)).round() * (400 / 127)
    signal = functional.linear(rest, eight_bits)
    assert relative(functional.linear(drowned, eight_bits), signal) > 0.5
    error = (found[2].float() - expected[2]).norm() / signal.norm()
    assert float(error) < {torch.bfloat16: 0.3, torch.float16: 0.06}[dtype]
    for row in (0, 1, 3, 4):
        assert relative(found[row], expected[row]) < 0.03


def test_rows_of_nf4_do_not_feel_their_neighbours(precision_of: Any) -> None:
    precision = precision_of("nf4", torch.bfloat16)
    linear = precision.linear(numbers(96, 128, seed=1), None)
    x = numbers(BLOCK_ROWS + 9, 128, seed=3).bfloat16()
    together = linear(precision.operand(x))
    for row in (0, 5, BLOCK_ROWS, BLOCK_ROWS + 8):
        assert torch.equal(linear(precision.operand(x[row : row + 1]))[0], together[row])


def test_nf4_always_multiplies_the_same_number_of_rows(precision_of: Any) -> None:
    precision = precision_of("nf4", torch.bfloat16)
    linear = precision.linear(numbers(8, 64, seed=1), None)
    seen: list[int] = []

    def matmul(block: Tensor, *_: Any, **__: Any) -> Tensor:
        seen.append(block.shape[0])
        return block.new_zeros(block.shape[0], 8)

    linear._matmul = matmul
    for rows in (1, 2, 5, BLOCK_ROWS, BLOCK_ROWS + 1):
        assert linear(Operand(torch.zeros(rows, 64), None, rows)).shape == (rows, 8)
    assert set(seen) == {BLOCK_ROWS}


def test_rows_of_llm_int8_do_feel_them(precision_of: Any) -> None:
    """Why bnb-int8 is offered for memory only: this is the paper's method, not a bug of ours."""
    precision = precision_of("bnb-int8", torch.float16)
    linear = precision.linear(numbers(96, 128, seed=1), None)
    x = numbers(2, 128, seed=3).half()
    x[1, 7] = 400.0
    alone, together = linear(precision.operand(x[:1])), linear(precision.operand(x))
    assert not torch.equal(alone[0], together[0])


def errors(lab: Any, quantized: Any, exact: Any, slots: Any) -> float:
    """Median relative error of logits."""
    requests = lab.forced(len(slots), seed=40, slots=slots)
    pairs = zip(quantized.forced_logits(requests), exact.forced_logits(requests), strict=True)
    return statistics.median(relative(own, reference) for own, reference in pairs)


def rounded(model: Any) -> Any:
    """A copy whose linears, the output projection apart, hold what nf4 keeps of them."""
    made = copy.deepcopy(model)
    with torch.no_grad():
        for name, module in made.named_modules():
            if isinstance(module, torch.nn.Linear) and name != "lm_head":
                module.weight.copy_(nf4(module.weight.bfloat16().float()))
    return made


def test_an_engine_mixes_adapters_on_llm_int8(lab: Any, zoo: Any) -> None:
    engine = zoo.engine(lab, "bnb-int8")
    assert engine.quantization == "bnb-int8"
    assert 1e-3 < errors(lab, engine, zoo.engine(lab, "float32"), zoo.slots) < 0.05


def test_an_engine_mixes_adapters_on_nf4(lab: Any, zoo: Any) -> None:
    """It equals a float32 engine on a base whose linears were rounded by the paper's formula."""
    reference = replace(zoo, base=lab.base(rounded(zoo.model))).engine(lab, "float32")
    engine = zoo.engine(lab, "nf4")
    assert errors(lab, engine, zoo.engine(lab, "float32"), zoo.slots) > 0.2
    assert errors(lab, engine, reference, zoo.slots) < 0.03


def test_the_table_is_kept_in_the_hidden_dtype() -> None:
    table = numbers(20, 64, seed=5)
    for name in ("nf4", "bnb-int8"):
        precision = find_precision(name)
        embedding, output = precision.tied(table, 2.0)
        ids = torch.tensor([3, 0])
        torch.testing.assert_close(embedding(ids), table.bfloat16()[ids] * 2)
        rows = numbers(3, 64, seed=6).bfloat16()
        for projection in (output, precision.output(table)):
            logits = projection(precision.operand(rows))
            torch.testing.assert_close(logits, functional.linear(rows, table.bfloat16()))


@pytest.mark.parametrize("name", ["nf4", "bnb-int8"])
def test_products_are_added_to_residuals(precision_of: Any, name: str) -> None:
    precision = precision_of(name, torch.bfloat16)
    linear = precision.linear(numbers(8, 64, seed=1), numbers(8, seed=2))
    x = precision.operand(numbers(3, 64, seed=3).bfloat16())
    hidden = numbers(3, 8, seed=4).bfloat16()
    expected = hidden + linear(x)
    linear.add_to(hidden, x)
    assert torch.equal(hidden, expected)
    assert precision.cache_dtype is torch.bfloat16


@pytest.mark.parametrize("name", ["nf4", "bnb-int8"])
def test_t5_with_an_output_of_its_own_is_served(lab: Any, name: str) -> None:
    model = lab.model(seed=3, family="t5_gated")
    engine, exact = lab.engine(lab.base(model), name), lab.engine(lab.base(model))
    nearest = lab.engine(lab.base(rounded(model))) if name == "nf4" else exact
    assert 1e-3 < errors(lab, engine, nearest, [0] * 16) < 0.1
    if name == "nf4":
        assert errors(lab, engine, exact, [0] * 16) > 0.3
