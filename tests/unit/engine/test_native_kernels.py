"""The compiled kernels against PyTorch's own operators, under every variant of this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hub.engine import native
from hub.engine.banks import BankKey
from hub.engine.deltas import CompiledDeltas

pytestmark = pytest.mark.skipif(
    not native.available(), reason="the package was built without a C compiler"
)


@pytest.fixture(autouse=True, params=native.variants())
def _variant(request: pytest.FixtureRequest) -> Iterator[None]:
    torch.manual_seed(3)
    with native.using(request.param):
        assert native.variant() == request.param
        yield


@pytest.mark.parametrize(("rows", "width"), [(1, 16), (3, 100), (9, 1024)])
@pytest.mark.parametrize("kind", ["none", "layer", "rms"])
def test_quantizing_is_norm_then_rounding(rows: int, width: int, kind: native.NormKind) -> None:
    x, weight, bias = torch.randn(rows, width) * 3, torch.randn(width), torch.randn(width)
    if kind == "layer":
        step = native.NormStep(kind, 1e-5, weight, bias)
        expected = functional.layer_norm(x, (width,), weight, bias, 1e-5)
    elif kind == "rms":
        step = native.NormStep(kind, 1e-6, weight)
        expected = functional.rms_norm(x, (width,), weight, 1e-6)
    else:
        step, expected = native.NO_NORM, x
    values = torch.empty(rows, width, dtype=torch.uint8)
    scale = native.quantize(x, values, step)
    torch.testing.assert_close(scale, expected.abs().amax(1, keepdim=True))
    back = (values.float() - 128) * scale / 127
    assert ((back - expected).abs() <= scale / 127 * 0.501).all()
    if kind == "none":
        assert torch.equal(values, ((x * (127 / scale)).round() + 128).to(torch.uint8))


def test_a_row_with_nan_poisons_its_own_scale_alone() -> None:
    x = torch.randn(3, 64)
    x[1, 7] = torch.nan
    scale = native.quantize(x, torch.empty(3, 64, dtype=torch.uint8))
    assert scale.isnan().flatten().tolist() == [False, True, False]


def test_finishing_scales_and_shifts() -> None:
    x, scale, bias, onto = torch.randn(5, 70), torch.rand(5, 1), torch.randn(70), torch.randn(5, 70)
    expected = x * scale + bias
    total = onto + expected
    native.finish(x, scale, bias, onto)
    torch.testing.assert_close(x, expected)
    torch.testing.assert_close(onto, total)


@pytest.mark.parametrize(("heads", "head_dim"), [(4, 64), (3, 10), (1, 128)])
@pytest.mark.parametrize("append", [True, False])
def test_attention_reads_each_rows_own_positions(heads: int, head_dim: int, append: bool) -> None:
    rows, reserved, inner = 6, 40, heads * head_dim
    cache = torch.randn(2, rows, heads, reserved, head_dim).bfloat16()
    lengths = torch.tensor([1, 2, 17, 33, 40, 5])
    behind = torch.arange(reserved) >= lengths[:, None]
    cache.transpose(2, 3)[:, behind] = torch.nan  # not its own: must never be read
    owners = torch.tensor([3, 0, 5, 1, 4, 2]) if not append else torch.arange(rows)
    lengths = lengths[owners]
    queries = torch.randn(rows, 3 * inner if append else inner)
    bias = torch.randn(heads, reserved)
    out = torch.empty(rows, inner)
    places = native.Places(owners, lengths, int(lengths.max()))
    native.attend(queries, cache, places, out, append=append, scale=0.3, bias=bias)
    for row, (owner, length) in enumerate(zip(owners, lengths.tolist(), strict=True)):
        keys, values = cache[:, owner, :, :length].float()
        if append:
            own = queries[row, inner:].bfloat16().float().view(2, heads, head_dim)
            assert torch.equal(torch.stack([keys[:, -1], values[:, -1]]), own)
        query = queries[row, :inner].view(heads, 1, head_dim)
        distances = bias[:, :length].flip(1).unsqueeze(1)
        weights = (query @ keys.transpose(1, 2) * 0.3 + distances).softmax(-1)
        torch.testing.assert_close(out[row], (weights @ values).flatten(), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(("biased", "activation"), [(False, ""), (True, "relu"), (True, "gelu")])
@pytest.mark.parametrize(("width", "out_width"), [(64, 64), (200, 96)])
def test_every_row_goes_through_its_own_adapter(
    biased: bool, activation: str, width: int, out_width: int
) -> None:
    layers, ranks = 2, (8, 24, 16)
    key = BankKey("decoder", "site", activation, biased=biased)
    down, up = torch.randn(layers, 48, width), torch.randn(layers, 48, out_width)
    down_bias = torch.randn(layers, 48) if biased else None
    part = CompiledDeltas().pack(key, down, up, down_bias, None)
    weights = dict(part.tensors)
    if biased:
        weights["up_bias"] = torch.randn(layers, 6, out_width)
    x = torch.randn(5, width)
    values = torch.empty(5, width, dtype=torch.uint8)
    scale = native.quantize(x, values)
    index = torch.tensor([4, 0, 2])
    offsets = torch.tensor([0, 8, 32])
    rows = native.AdapterRows(index, offsets, torch.tensor(ranks), max(ranks))
    wide = torch.randn(5, 2 * out_width)
    before = wide.clone()
    page = native.AdapterWeights.of(weights, 1)
    native.adapt(values, scale, rows, page, activation, wide[:, :out_width])
    expected = before.clone()
    for row, first, count in zip(index, offsets, ranks, strict=True):
        own = slice(int(first), int(first) + count)
        expected[row, :out_width] += adapted(weights, 1, own, values[row], scale[row], activation)
    torch.testing.assert_close(wide, expected, atol=1e-3, rtol=1e-4)
    assert torch.equal(wide[[1, 3]], before[[1, 3]])
    z = x[4] @ down[1, :8].t() + (0 if down_bias is None else down_bias[1, :8])
    unquantized = (getattr(functional, activation)(z) if activation else z) @ up[1, :8]
    if biased:
        unquantized += weights["up_bias"][1, 0]
    delta = (wide - before)[4, :out_width]
    assert (delta - unquantized).norm() < 0.02 * unquantized.norm()


def adapted(
    weights: dict[str, Tensor], layer: int, own: slice, x: Tensor, scale: Tensor, activation: str
) -> Tensor:
    """The formula in float64, from the quantized numbers."""
    part = {name: tensor[layer].double() for name, tensor in weights.items()}
    z = (part["down"][own] @ (x.double() - 128)) * part["rank_scale"][own] * scale.double()
    if activation:
        z = getattr(functional, activation)(z + part["down_bias"][own]) * part["up_scale"][own]
    delta = z @ part["up"][own]
    if "up_bias" in part:
        delta = delta + part["up_bias"][own.start // 8]
    return delta.float()


@pytest.mark.parametrize("keep", [1, 8])
@pytest.mark.parametrize("part", [100, 700, 2000])
def test_ranking_in_parts_is_log_softmax_and_topk(keep: int, part: int) -> None:
    logits = torch.randn(4, 2000) * 9
    blocked = logits.argmax(-1)[:1]
    ranking = native.Ranking(4, keep, torch.tensor([True, False, False, False]), blocked)
    for first in range(0, 2000, part):
        ranking.update(logits[:, first : first + part].contiguous(), first)
    values, tokens = ranking.best()
    expected = logits.log_softmax(-1)
    expected[0, blocked] = -torch.inf
    top = expected.topk(keep)
    assert torch.equal(tokens, top.indices)
    torch.testing.assert_close(values, top.values, atol=2e-5, rtol=1e-5)


def test_ranking_tells_a_row_with_nan() -> None:
    logits = torch.randn(2, 300)
    logits[1, 299] = torch.nan
    no_rows, no_tokens = torch.zeros(2, dtype=torch.bool), torch.zeros(0, dtype=torch.int64)
    ranking = native.Ranking(2, 1, no_rows, no_tokens)
    ranking.update(logits, 0)
    assert ranking.best()[0].isnan().flatten().tolist() == [False, True]


@pytest.mark.parametrize(("width", "out"), [(32, 48), (1024, 96), (100, 33), (4096, 64)])
@pytest.mark.parametrize("rows", [1, 12, 13, 64, 500])
def test_products_are_integer_sums(width: int, out: int, rows: int) -> None:
    quantized = torch.randint(-127, 128, (out, width), dtype=torch.int8)
    scale, bias, magnitude = torch.rand(out) / width, torch.randn(out), torch.rand(rows, 1)
    weight = native.PackedWeight.pack(quantized, scale, bias, native.WeightArena(1 << 16))
    padded = -(-width // 4) * 4
    values = torch.randint(1, 256, (rows, padded), dtype=torch.uint8)
    values[:, width:] = 128
    sums = (values[:, :width].double() - 128) @ quantized.double().t()
    expected = (sums * scale.double() * magnitude.double() + bias.double()).float()
    wide = torch.randn(rows, 2 * out)
    before = wide.clone()
    native.multiply(values, magnitude, weight, wide[:, :out])
    torch.testing.assert_close(wide[:, :out], expected)
    assert torch.equal(wide[:, out:], before[:, out:])
    native.multiply(values, magnitude, weight, wide[:, out:], add=True)
    torch.testing.assert_close(wide[:, out:], before[:, out:] + expected)
    one = torch.empty(1, out)
    native.multiply(values[rows - 1 :], magnitude[rows - 1 :], weight, one)
    assert torch.equal(one[0], wide[rows - 1, :out])
    index = torch.tensor([0, out - 1, 17])
    assert torch.equal(weight.rows(index)[:, :width], quantized[index])


def test_threads_change_no_bit() -> None:
    x, cache = torch.randn(7, 192), torch.randn(2, 7, 2, 16, 32).bfloat16()
    lengths = torch.tensor([3, 16, 1, 9, 9, 2, 12])
    found = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            out = torch.empty(7, 64)
            places = native.Places(torch.arange(7), lengths, 16)
            native.attend(x, cache.clone(), places, out, append=True, scale=0.2)
            found.append(out)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)
