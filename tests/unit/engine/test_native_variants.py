"""Instruction sets: the same bits from all of them, and the choice among them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from hub.engine import native
from hub.engine.banks import BankKey
from hub.engine.deltas import CompiledDeltas
from hub.errors import SettingsError
from hub.isa import NAMES, VARIABLE, forced_isa, library_caps
from hub.settings import load_settings

compiled = pytest.mark.skipif(
    not native.available(), reason="the package was built without a C compiler"
)
WIDTHS = (2, 15, 16, 17, 64, 100, 512, 1028)


def under_every_variant(run: Callable[[], list[Tensor]]) -> None:
    """Run once under each variant and compare bits, NaN included."""
    found = {}
    for name in native.variants():
        with native.using(name):
            torch.manual_seed(11)
            found[name] = run()
    plain = found.pop("plain")
    assert all(tensor.unique().numel() > 1 for tensor in plain if tensor.numel() > 1)
    for name, tensors in found.items():
        for one, other in zip(plain, tensors, strict=True):
            integers = {4: torch.int32, 1: torch.uint8, 8: torch.int64}[one.element_size()]
            assert torch.equal(one.view(integers), other.view(integers)), name


@compiled
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["none", "layer", "rms"])
def test_quantizing(width: int, kind: native.NormKind) -> None:
    def run() -> list[Tensor]:
        x = torch.randn(5, width) * 7
        values = torch.empty(5, width, dtype=torch.uint8)
        weight, bias = torch.randn(width), torch.randn(width)
        step = native.NormStep(kind, 1e-5, weight, bias if kind == "layer" else None)
        scale = native.quantize(x, values, step)
        finished = x.clone().contiguous()
        onto = torch.randn(5, width)
        native.finish(finished, scale, bias, onto)
        return [values, scale, finished, onto]

    under_every_variant(run)


@compiled
@pytest.mark.parametrize("head_dim", [8, 10, 31, 32, 33, 48, 64, 96, 100, 128, 160])
def test_attention(head_dim: int) -> None:
    def run() -> list[Tensor]:
        lengths = torch.tensor([1, 2, 15, 16, 17, 33, 70])
        cache = torch.randn(2, 7, 3, 80, head_dim).bfloat16()
        queries, bias = torch.randn(7, 9 * head_dim) * 3, torch.randn(3, 80)
        out = torch.empty(7, 3 * head_dim)
        places = native.Places(torch.arange(7), lengths, 70)
        native.attend(queries, cache, places, out, append=True, scale=0.2, bias=bias)
        return [out, cache.float()]

    under_every_variant(run)


@compiled
@pytest.mark.parametrize("activation", ["", "relu", "gelu"])
@pytest.mark.parametrize(("width", "out"), [(64, 64), (200, 96), (1024, 40), (36, 20)])
def test_adapters(activation: str, width: int, out: int) -> None:
    def run() -> list[Tensor]:
        biased = bool(activation)
        key = BankKey("decoder", "site", activation, biased=biased)
        down, up = torch.randn(1, 40, width), torch.randn(1, 40, out)
        part = CompiledDeltas().pack(key, down, up, torch.randn(1, 40) if biased else None, None)
        x, values = torch.randn(3, width), torch.empty(3, width, dtype=torch.uint8)
        scale = native.quantize(x, values)
        index, offsets, ranks = torch.tensor([[2, 0, 1], [0, 16, 24], [13, 8, 16]])
        rows = native.AdapterRows(index, offsets, ranks, 16)
        total = torch.randn(3, out)
        weights = native.AdapterWeights.of(dict(part.tensors), 0)
        native.adapt(values, scale, rows, weights, activation, total)
        return [total]

    under_every_variant(run)


@compiled
@pytest.mark.parametrize("count", [3, 255, 256, 300, 2000])
def test_ranking(count: int) -> None:
    def run() -> list[Tensor]:
        logits = torch.randn(6, count) * 12
        logits[4] = 0.25  # ties
        blocked = logits[0].argmax().view(1)
        ranking = native.Ranking(6, 3, torch.arange(6) < 1, blocked)
        ranking.update(logits, 0)
        ranking.update(logits.flip(1).contiguous(), count)
        return list(ranking.best())

    under_every_variant(run)


@compiled
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 6, 7, 13, 33, 400])
@pytest.mark.parametrize(("width", "out"), [(4, 1), (32, 48), (100, 33), (1024, 96), (4100, 40)])
def test_products(rows: int, width: int, out: int) -> None:
    def run() -> list[Tensor]:
        # Extremes too: sums of neighbouring products must not saturate in 16 bits.
        quantized = torch.randint(-127, 128, (out, width), dtype=torch.int8)
        quantized[: out // 2].clamp_(min=126)
        values = torch.randint(1, 256, (rows, width), dtype=torch.uint8)
        values[: rows // 2].clamp_(min=254)
        values[rows - 1] = 1
        scale, bias, magnitude = torch.rand(out) / width, torch.randn(out), torch.rand(rows, 1)
        arena = native.WeightArena(1 << 16)
        weight = native.PackedWeight.pack(quantized, scale, bias, arena)
        unbiased = native.PackedWeight.pack(quantized, scale, None, arena)
        first, second = torch.empty(rows, out), torch.randn(rows, out)
        native.multiply(values, magnitude, weight, first)
        native.multiply(values, magnitude, unbiased, second, add=True)
        exact = (values.double() - 128) @ quantized.double().t()
        expected = exact.float() * (scale * magnitude)  # sums below 2^24 are exact in float32
        if width <= 1024:
            assert torch.equal(first, expected + bias)
        return [first, second]

    under_every_variant(run)


@compiled
def test_a_row_does_not_depend_on_how_many_rows_run_with_it() -> None:
    quantized = torch.randint(-127, 128, (70, 256), dtype=torch.int8)
    values = torch.randint(1, 256, (50, 256), dtype=torch.uint8)
    weight = native.PackedWeight.pack(quantized, torch.rand(70), None, native.WeightArena(1 << 16))
    magnitude = torch.rand(50, 1)
    for name in native.variants():
        with native.using(name):
            together = torch.empty(50, 70)
            native.multiply(values, magnitude, weight, together)
            for row in range(50):
                alone = torch.empty(1, 70)
                native.multiply(values[row:], magnitude[row:], weight, alone)
                assert torch.equal(alone[0], together[row]), (name, row)


@contextmanager
def forced(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv(VARIABLE, name)
        yield


@pytest.mark.parametrize("name", ["avx9", "AVX2", " ", "sse"])
def test_an_unknown_instruction_set_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with forced(name, monkeypatch):
        for refused in (forced_isa, load_settings):
            with pytest.raises(
                SettingsError, match=f"HUB_CPU_ISA is {name!r}; give auto or one of"
            ):
                refused()


@pytest.mark.parametrize("name", ["", "auto"])
def test_nothing_is_forced_by(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with forced(name, monkeypatch):
        assert forced_isa() == ""


def test_a_misspelt_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_CPU_ISE", "avx2")
    with pytest.raises(SettingsError, match="did you mean HUB_CPU_ISA"):
        load_settings()


def run_python(code: str, isa: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {VARIABLE: isa}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip


@compiled
def test_the_environment_chooses_the_variant() -> None:
    code = "from hub.engine import native; print(native.variant(), native.multiplies())"
    found = run_python(code, "plain")
    assert found.stdout.split() == ["plain", "True"], found.stderr


@compiled
def test_what_the_machine_cannot_run_is_refused() -> None:
    missing = next(name for name in reversed(NAMES) if name not in native.variants())
    with pytest.raises(SettingsError, match=f"{missing!r}.*it can run {native.variants()[0]}"):
        native.using(missing).__enter__()
    found = run_python("from hub.engine import native", missing)
    assert found.returncode != 0
    assert f"HUB_CPU_ISA is {missing!r}, which this machine cannot run; it can run" in found.stderr


def test_libraries_are_held_to_the_forced_instruction_set() -> None:
    assert library_caps("avx2")["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert library_caps("avx2")["CT2_FORCE_CPU_ISA"] == "AVX2"
    assert library_caps("") == library_caps("amx") == {}
