"""The gradient of an update: of several batches as of one, with and without kept layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hub.bases import Base
from hub.bases.tokenizer import BaseTokenizer
from tests.unit.training.conftest import encode_lines
from training.loop.batching import Example, PlannedBatch, Position, Update
from training.loop.checkpointing import checkpoint_layers
from training.loop.gradients import Gradients
from training.loop.loss import Layout
from training.loop.model import attach, load_base_model, trainable
from training.loop.processes import Alone
from training.methods.catalog import METHODS, method
from training.recipe import Recipe
from training.whole_weights import unfreeze

LAYOUT = Layout(pad_id=1, decoder_start_id=2, forced=1)


@pytest.fixture(scope="module")
def examples(tokenizer: BaseTokenizer) -> list[Example]:
    """Lines of very different lengths, so that a mean of means is not the mean."""
    lines = [("two " * n, "zwei " * (1 + 2 * n)) for n in range(1, 9)]
    return encode_lines(tokenizer, lines)


def update(*batches: tuple[int, ...]) -> Update:
    planned = [PlannedBatch(Position(0, n), indices) for n, indices in enumerate(batches)]
    return Update(tuple(planned), Position(0, len(batches)))


def gradient_of(model: Any, examples: list[Example], recipe: Recipe, what: Update) -> Any:
    model.train()
    made = Gradients(
        model, trainable(model), examples, recipe, layout=LAYOUT, processes=Alone(), device="cpu"
    )
    with torch.random.fork_rng(devices=[]):
        loss = made.compute(what)
    return loss, {name: p.grad for name, p in trainable(model).items() if p.grad is not None}


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_several_batches_have_the_gradient_of_one_as_large(
    tiny_base: Base, examples: list[Example], make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe(method="lora", dropout=0.0, options=METHODS["lora"].options)
    model = attach(load_base_model(tiny_base, dropout=0.0), method("lora"), recipe)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for name, parameter in trainable(model).items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    whole = update(tuple(range(8)))
    parts = update((0,), (1, 2, 3), (4, 5, 6, 7))
    loss, wanted = gradient_of(model, examples, recipe, whole)
    split_loss, found = gradient_of(model, examples, recipe, parts)
    size = max(float(gradient.abs().max()) for gradient in wanted.values())
    assert split_loss == pytest.approx(loss, rel=1e-6)
    assert largest_difference(wanted, found) < 1e-5 * size
    alone = [gradient_of(model, examples, recipe, update(b.indices)) for b in parts.batches]
    unweighted = {n: sum(grads[n] for _, grads in alone) / 3 for n in wanted}
    assert largest_difference(wanted, unweighted) > 1e-2 * size, "weights by tokens matter here"
    assert sum(found_loss for found_loss, _ in alone) / 3 != pytest.approx(loss, rel=1e-3)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_checkpointing_gives_the_same_gradients(
    tiny_base: Base, examples: list[Example], make_recipe: Callable[..., Recipe], name: str
) -> None:
    spec = METHODS[name]
    recipe = make_recipe(method=name, size=4 if spec.size_name else 0, dropout=0.2)
    found = []
    for checkpointing in (False, True):
        base = load_base_model(tiny_base, dropout=0.2)
        whole = spec.serving == "a base of its own"
        model: Any = unfreeze(base) if whole else attach(base, spec, recipe)
        if checkpointing:
            checkpoint_layers(model)
        saved: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, saved=saved: saved.append(tensor.numel()) or tensor, lambda t: t
        ):
            result = gradient_of(model, examples, recipe, update((0, 1, 2), (3, 4)))
        found.append((*result, len(saved)))
    (loss, kept, tensors), (again, recomputed, fewer) = found
    assert loss == again
    assert all(torch.equal(kept[key], recomputed[key]) for key in kept)
    assert kept.keys() == recomputed.keys()
    assert any(bool(gradient.any()) for gradient in kept.values())
    assert fewer < 0.6 * tensors, "the logits, which are most of the numbers, are kept by both"


def test_dropout_follows_from_the_place_of_the_batch(
    tiny_base: Base, examples: list[Example], make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe(dropout=0.3)
    model = attach(load_base_model(tiny_base, dropout=0.3), method("bottleneck"), recipe)
    both = update((0, 1), (0, 1))
    second = Update(both.batches[1:], both.follows)
    loss, _ = gradient_of(model, examples, recipe, both)
    one, _ = gradient_of(model, examples, recipe, Update(both.batches[:1], both.follows))
    torch.manual_seed(1234)
    other, _ = gradient_of(model, examples, recipe, second)
    assert one != other
    assert loss == pytest.approx((one + other) / 2, rel=1e-6)
