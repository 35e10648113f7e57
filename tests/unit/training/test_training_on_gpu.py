"""Training on a real GPU learns what the CPU learns. Run with `pytest -m gpu`.

REHEARSE_GPU_TESTS=1 runs the same code on the CPU, which shows that the tests themselves work.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hub.bases import Base
from hub.bases.tokenizer import BaseTokenizer
from tests.unit.training.conftest import encode_lines
from training.loop.batching import Example
from training.loop.interrupt import Never
from training.loop.loss import Layout
from training.loop.model import adapter_files, attach, load_base_model
from training.loop.progress import Silent, UpdateReport
from training.loop.quantized import quantize_for
from training.loop.trainer import Trainer
from training.methods.catalog import METHODS, ROWS, method
from training.recipe import Recipe
from training.runs import RunFolder

REHEARSAL = os.environ.get("REHEARSE_GPU_TESTS") == "1"
DEVICE = "cpu" if REHEARSAL else "cuda"
LAYOUT = Layout(pad_id=1, decoder_start_id=2, forced=1)
SLOT_METHODS = [name for name, spec in METHODS.items() if spec.in_slots]
CASES = [
    *((name, 0) for name in SLOT_METHODS),
    *((name, 6) for name in SLOT_METHODS if METHODS[name].takes_rows),
]
"""A method, and how many rows of the token table are trained beside it."""
UPDATES = 20

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not REHEARSAL and not torch.cuda.is_available(), reason="there is no CUDA GPU"
    ),
]


class Losses(Silent):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def updated(self, report: UpdateReport) -> None:
        self.seen.append(report.loss)


@pytest.fixture(scope="module")
def examples(tokenizer: BaseTokenizer) -> list[Example]:
    return encode_lines(tokenizer, [(f"{n} hours ago", f"vor {n} Stunden") for n in range(2, 26)])


def pieces_of(examples: list[Example], recipe: Recipe) -> list[int]:
    """The commonest tokens of the targets, as many as rows of the table are trained."""
    count = method(recipe.method).rows(recipe.size, recipe.options)
    seen = Counter(token for example in examples for token in example.target)
    return [token for token, _ in seen.most_common(count)]


def losses_of(
    base: Base, examples: list[Example], recipe: Recipe, root: Path, device: str
) -> list[float]:
    """The loss after every update of a run on a device."""
    model: Any = load_base_model(base, dropout=0.0, precision="float32")
    if recipe.quantize != "none":
        quantize_for(recipe, model, device)
    nn.Module.to(model, device)
    spec = method(recipe.method)
    adapted = attach(model, spec, recipe, pieces_of(examples, recipe))
    told = Losses()
    Trainer(
        adapted,
        examples,
        recipe,
        layout=LAYOUT,
        run=RunFolder.create(root, recipe),
        snapshot=lambda: adapter_files(adapted, "tiny"),
        judge=lambda folder: 1.0,
        progress=told,
        stop=Never(),
        device=device,
    ).train()
    return told.seen


@pytest.mark.parametrize(("name", "rows"), CASES)
def test_every_method_learns_what_it_learns_on_the_cpu(
    tiny_base: Base,
    examples: list[Example],
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
    name: str,
    rows: int,
) -> None:
    recipe = make_recipe(
        method=name,
        options={**METHODS[name].options, **({ROWS: rows} if rows else {})},
        size=4 if METHODS[name].size_name else 0,
        max_updates=UPDATES,
        evaluate_every=UPDATES,
        dropout=0.0,
        precision="float32",
    )
    expected = losses_of(tiny_base, examples, recipe, tmp_path / "cpu", "cpu")
    found = losses_of(tiny_base, examples, recipe, tmp_path / "gpu", DEVICE)
    assert len(expected) == UPDATES
    assert expected[-1] < expected[0]
    assert found == pytest.approx(expected, rel=5e-3)


def test_a_base_in_four_bits_trains(
    wide_base: Base, examples: list[Example], make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(
        max_updates=UPDATES, evaluate_every=UPDATES, dropout=0.0, quantize="nf4",
        base_digest=wide_base.digest,
    )  # fmt: skip
    whole = replace(recipe, quantize="none")
    found = losses_of(wide_base, examples, recipe, tmp_path / "nf4", DEVICE)
    plain = losses_of(wide_base, examples, whole, tmp_path / "whole", DEVICE)
    assert found[-1] < found[0]
    assert found != plain  # four bits are not the whole base
    assert found == pytest.approx(plain, rel=0.1)
