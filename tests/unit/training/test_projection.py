"""The fused projection and loss against torch's own, gradients included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hub.bases import Base
from hub.engine.testing import random_model
from training.loop import projection
from training.loop.batching import Example
from training.loop.loss import Layout, collate, logits_at_predicted, smoothed_loss
from training.loop.model import load_base_model
from training.loop.projection import frozen_weight, projected_loss

LAYOUT = Layout(pad_id=1, decoder_start_id=2, forced=1)
ROWS = [
    Example((90, 11, 2), (91, 20, 2), 0),
    Example((90, 12, 13, 14, 2), (91, 21, 22, 23, 24, 2), 1),
]


def reference(
    states: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """What torch says, in float64."""
    own = states.double().requires_grad_()
    logits = own @ weight.double().T
    logits = logits if bias is None else logits + bias
    loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    return loss.detach(), torch.autograd.grad(loss, own)[0]


@pytest.fixture
def numbers() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    states = torch.randn(37, 16, generator=draw) * 2
    weight = torch.randn(101, 16, generator=draw)
    return (
        states,
        weight,
        torch.randn(1, 101, generator=draw),
        torch.randint(0, 101, (37,), generator=draw),
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("cells", [1, 101 * 5, 1 << 20])
def test_loss_and_gradient_are_torchs(
    numbers: tuple[Tensor, Tensor, Tensor, Tensor],
    monkeypatch: pytest.MonkeyPatch,
    smoothing: float,
    biased: bool,
    cells: int,
) -> None:
    monkeypatch.setattr(projection, "CACHED_CELLS", cells)
    monkeypatch.setattr(projection, "BLOCK_CELLS", 3 * cells)
    states, weight, bias, labels = numbers
    added = bias if biased else None
    expected, gradient = reference(states, weight, added, labels, smoothing)
    own = states.clone().requires_grad_()
    loss = projected_loss(own, weight, added, labels, smoothing)
    (3 * loss).backward()  # type: ignore[no-untyped-call]
    assert own.grad is not None
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(own.grad, 3 * gradient.float(), rtol=1e-4, atol=1e-7)
    assert float(gradient.abs().max()) > 1e-3, "there is a gradient to compare"


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-4), (torch.bfloat16, 4e-2)])
@pytest.mark.parametrize("cells", [1, 101 * 5, 1 << 20])
def test_trained_rows_of_the_projection_have_torchs_gradient(
    numbers: tuple[Tensor, Tensor, Tensor, Tensor],
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    close: float,
    cells: int,
) -> None:
    monkeypatch.setattr(projection, "BLOCK_CELLS", 3 * cells)
    states, weight, bias, labels = numbers
    index = torch.tensor([7, 100, 3, 40])
    own, rows = (each.clone().requires_grad_() for each in (states, weight[[50, 60, 70, 80]]))
    loss = projected_loss(own, weight.to(dtype), bias, labels, 0.1, rows, index)
    (3 * loss).backward()  # type: ignore[no-untyped-call]
    exact = rows.detach().double().requires_grad_()
    table = weight.double().index_copy(0, index, exact)
    input_ = states.double().requires_grad_()
    logits = input_ @ table.T + bias
    expected = functional.cross_entropy(logits, labels, label_smoothing=0.1)
    (3 * expected).backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(expected.item(), rel=close)
    for found, true in ((rows.grad, exact.grad), (own.grad, input_.grad)):
        assert found is not None
        assert true is not None
        assert float((found - true).norm()) < close * float(true.norm())
    plain = projected_loss(states, weight, bias, labels, 0.1)
    assert abs(plain.item() - loss.item()) > 0.01


def test_smoothing_and_bias_do_change_the_loss(
    numbers: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    states, weight, bias, labels = numbers
    plain = projected_loss(states, weight, None, labels, 0.0)
    assert abs(plain - projected_loss(states, weight, None, labels, 0.1)) > 0.01
    assert abs(plain - projected_loss(states, weight, bias, labels, 0.0)) > 0.01


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_bfloat16_products_are_as_near_as_torchs(
    numbers: tuple[Tensor, Tensor, Tensor, Tensor], smoothing: float
) -> None:
    states, weight, _, labels = numbers
    half = weight.bfloat16()
    expected, gradient = reference(states, weight, None, labels, smoothing)
    errors = []
    for fused in (True, False):
        own = states.clone().requires_grad_()
        if fused:
            loss = projected_loss(own, half, None, labels, smoothing)
        else:
            logits = functional.linear(own.bfloat16(), half).float()
            loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        found = torch.autograd.grad(loss, own)[0]
        assert loss.item() == pytest.approx(expected.item(), rel=0.01)
        errors.append(float((found - gradient).norm() / gradient.norm()))
    assert errors[0] < 1.2 * errors[1] < 0.02


def test_great_logits_do_not_overflow_and_bad_ones_show() -> None:
    weight = torch.eye(4)
    great = torch.tensor([[3e4, -3e4, 0.0, 1.0]], requires_grad=True)
    loss = projected_loss(great, weight, None, torch.tensor([1]), 0.0)
    assert loss.item() == 6e4
    assert torch.autograd.grad(loss, great)[0].tolist() == [[1.0, -1.0, 0.0, 0.0]]
    bad = torch.tensor([[float("inf"), 0.0, 0.0, 0.0]])
    assert not projected_loss(bad, weight, None, torch.tensor([1]), 0.0).isfinite()


@pytest.mark.parametrize(
    "family", ["", "mbart", "marian", "t5", "mt5"], ids=lambda name: name or "base"
)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_padded_batch_of_every_family(tiny_base: Base, family: str, smoothing: float) -> None:
    model: Any = random_model(family, 0, {}) if family else load_base_model(tiny_base, dropout=0.0)
    head = model.get_output_embeddings()
    layer = next(
        p for n, p in model.named_parameters() if ("decoder" in n and "fc" in n) or "wo" in n
    )
    model.requires_grad_(False)
    layer.requires_grad_(True)
    assert frozen_weight(head) is not None
    batch = collate(ROWS, LAYOUT)
    assert not batch.source_mask.all(), "there is padding"
    ours = smoothed_loss(model, batch, smoothing)
    logits = logits_at_predicted(model, batch)
    theirs = functional.cross_entropy(logits, batch.labels, label_smoothing=smoothing)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    mine, plain = (torch.autograd.grad(loss, layer)[0] for loss in (ours, theirs))
    torch.testing.assert_close(mine, plain, rtol=1e-3, atol=1e-6)
    assert float(plain.abs().max()) > 1e-5


def test_a_projection_that_is_trained_or_biased_is_left_to_autograd() -> None:
    head = nn.Linear(4, 6, bias=False)
    assert frozen_weight(head) is None
    head.requires_grad_(False)
    assert frozen_weight(head) is head.weight
    assert frozen_weight(nn.Linear(4, 6).requires_grad_(False)) is None


def test_in_bfloat16_the_half_weight_multiplies_while_training(tiny_base: Base) -> None:
    model = load_base_model(tiny_base, dropout=0.0, precision="bfloat16").requires_grad_(False)
    head = model.get_output_embeddings()
    assert frozen_weight(head).dtype == torch.float32
    model.train()
    assert frozen_weight(head).dtype == torch.bfloat16
