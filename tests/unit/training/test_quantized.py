"""A base in few bits: gradients reach the adapter alone, the loss falls, the budget stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hub.bases import Base
from hub.bases.tokenizer import BaseTokenizer
from hub.errors import EqualityGateError, SettingsError
from tests.unit.training.conftest import encode_lines
from training.defaults import Overrides
from training.loop.batching import Example
from training.loop.loss import Layout, collate, smoothed_loss
from training.loop.model import attach, count_trainable, load_base_model, trainable
from training.loop.progress import Silent
from training.loop.quantized import LOSS_TOLERANCE, check_loss, mean_loss, quantize_for
from training.methods.catalog import METHODS
from training.pipeline import train_adapter
from training.recipe import Recipe
from training.work import TrainRequest

LAYOUT = Layout(pad_id=1, decoder_start_id=2, forced=1)
NUMBERS = ("nf4", "int8")
IN_SLOTS = sorted(name for name, spec in METHODS.items() if spec.in_slots)


@pytest.fixture(scope="module")
def examples(tokenizer: BaseTokenizer) -> list[Example]:
    lines = [(f"{n} hours ago", f"vor {n} Stunden") for n in range(2, 14)]
    return encode_lines(tokenizer, lines)


def adapted(base: Base, recipe: Recipe) -> Any:
    model = load_base_model(base, dropout=0.0)
    if recipe.quantize != "none":
        quantize_for(recipe, model, "cpu")
    return attach(model, METHODS[recipe.method], recipe)


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("method", IN_SLOTS)
def test_gradients_reach_the_adapter_and_nothing_else(
    wide_base: Base,
    examples: list[Example],
    make_recipe: Callable[..., Recipe],
    numbers: str,
    method: str,
) -> None:
    size = 4 if METHODS[method].size_name else 0
    recipe = make_recipe(method=method, size=size, quantize=numbers)
    model = adapted(wide_base, recipe)
    plain = adapted(wide_base, replace(recipe, quantize="none"))
    kinds = {type(module).__name__ for module in model.modules()}
    assert any(("4bit" if numbers == "nf4" else "8bit") in kind for kind in kinds)
    assert count_trainable(model) == count_trainable(plain)
    batch = collate(examples, LAYOUT)
    model.train()
    plain.train()
    loss, exact = (smoothed_loss(each, batch, 0.1) for each in (model, plain))
    assert loss.item() != exact.item(), "few bits are not the same numbers"
    assert loss.item() == pytest.approx(exact.item(), rel=0.2)
    loss.backward()
    own = trainable(model)
    assert all(p.dtype == torch.float32 for p in own.values())
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in own.values())
    assert any(bool(p.grad.any()) for p in own.values() if p.grad is not None)
    assert all(p.grad is None for name, p in model.named_parameters() if name not in own)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("numbers", NUMBERS)
def test_the_loss_falls(
    wide_base: Base,
    examples: list[Example],
    make_recipe: Callable[..., Recipe],
    numbers: str,
    precision: str,
) -> None:
    recipe = make_recipe(quantize=numbers, precision=precision, size=16)
    model = adapted(wide_base, recipe)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    before = mean_loss(model, examples, LAYOUT, "cpu")
    optimiser = torch.optim.AdamW(trainable(model).values(), lr=0.01)
    model.train()
    for _ in range(15):
        optimiser.zero_grad()
        smoothed_loss(model, collate(examples, LAYOUT), 0.0).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert mean_loss(model, examples, LAYOUT, "cpu") < before - 0.3
    now = dict(model.named_parameters())
    assert all(torch.equal(now[name], value) for name, value in frozen.items())


QUICK = Overrides(
    train=80, dev=20, test=20, max_updates=6, evaluate_every=3, warmup=1, tokens_per_batch=256,
    dev_lines=4, precision="float32",
)  # fmt: skip


def request(base: Base, tmp_path: Path, **changes: Any) -> TrainRequest:
    return TrainRequest(
        pair="en-de",
        method=changes.pop("method", "lora"),
        budget=changes.pop("budget", 0.02),
        base=str(base.folder),
        overrides=replace(QUICK, **changes),
        registry=str(tmp_path / "registry"),
        runs=tmp_path / "runs",
        force=True,
    )


@pytest.mark.parametrize("numbers", NUMBERS)
def test_budget_and_gates_are_those_of_the_unquantized_base(
    wide_base: Base, tmp_path: Path, numbers: str
) -> None:
    plain = train_adapter(request(wide_base, tmp_path), Silent())
    few = train_adapter(request(wide_base, tmp_path, quantize=numbers), Silent())
    assert few.recipe.size == plain.recipe.size > 0
    assert few.manifest.realised_fraction == plain.manifest.realised_fraction
    assert few.manifest.realised_fraction == pytest.approx(
        few.manifest.trainable_parameters / wide_base.parameters
    )
    assert few.recipe.digest != plain.recipe.digest
    assert few.version is not None
    assert plain.version is not None
    assert few.version.digest != plain.version.digest, "it was trained on other numbers"
    assert few.equality.rows == plain.equality.rows
    log = (few.run_folder / "log.jsonl").read_text()
    assert "dev_loss_quantized" in log
    assert "dev_loss_quantized" not in (plain.run_folder / "log.jsonl").read_text()


def test_a_large_loss_off_the_quantized_base_is_refused() -> None:
    check_loss(2.0, 2.0 + LOSS_TOLERANCE / 2)
    check_loss(2.0, 1.0)
    with pytest.raises(EqualityGateError, match=r"2\.000 on the quantized base .* 2\.300 on"):
        check_loss(2.0, 2.3)
    for pair in ((2.0, float("nan")), (float("nan"), 2.0)):
        with pytest.raises(EqualityGateError):
            check_loss(*pair)


@pytest.mark.parametrize("method", ["full", "cross-attention"])
def test_whole_weights_are_not_trained_in_few_bits(
    wide_base: Base, tmp_path: Path, method: str
) -> None:
    with pytest.raises(SettingsError, match="does not go with method"):
        train_adapter(
            request(wide_base, tmp_path, method=method, budget=None, quantize="nf4"), Silent()
        )


def test_widths_that_nf4_cannot_take_are_refused(tiny_base: Base, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="a multiple of 64"):
        train_adapter(request(tiny_base, tmp_path, quantize="nf4"), Silent())
