"""oneDNN's products against torch's, with gradients; outside training a base is exact."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hub.bases import Base
from training.loop.batching import Example
from training.loop.loss import Layout, collate, smoothed_loss
from training.loop.model import load_base_model
from training.loop.onednn import ExactLinear, has_onednn, multiply, train_with_onednn

SHAPES = [(1, 7, 5), (3, 16, 24), (2, 1, 9)]


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("biased", [True, False])
def test_value_and_gradient_are_torchs(shape: tuple[int, int, int], biased: bool) -> None:
    rows, length, width = shape
    linear = nn.Linear(width, 11, bias=biased).requires_grad_(False)
    model = nn.Sequential(linear).train()
    values, upstream = numbers(rows, length, width), numbers(rows, length, 11)
    bias = None if linear.bias is None else linear.bias.double()
    expected = functional.linear(values.double(), linear.weight.double(), bias)
    train_with_onednn(model)
    assert type(linear) is ExactLinear
    own = values.clone().requires_grad_()
    found = linear(own)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(found, own, upstream)
    exact = upstream.double() @ linear.weight.double()
    torch.testing.assert_close(gradient.double(), exact, rtol=1e-5, atol=1e-5)


def test_layouts_and_nothing_at_all() -> None:
    weight = numbers(6, 4)
    turned = numbers(5, 3, 4).transpose(0, 1)
    torch.testing.assert_close(multiply(turned, weight), turned @ weight.T)
    torch.testing.assert_close(multiply(numbers(3, 6), weight.t()), numbers(3, 6) @ weight)
    assert multiply(torch.empty(0, 4), weight).shape == (0, 6)


def test_repeats_itself_to_the_bit() -> None:
    values, weight = numbers(37, 64), numbers(96, 64)
    assert torch.equal(multiply(values, weight), multiply(values, weight))


def test_a_weight_that_is_trained_gets_its_gradient() -> None:
    linear = nn.Linear(4, 3)
    train_with_onednn(nn.Sequential(linear).train())
    linear(numbers(2, 4)).sum().backward()
    assert linear.weight.grad is not None


@pytest.mark.skipif(not has_onednn(), reason="only where oneDNN multiplies")
def test_a_base_trains_with_them_and_is_exact_otherwise(
    tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = collate([Example((90, 11, 12, 2), (91, 20, 21, 2), 0)], Layout(1, 2, 1))
    model = load_base_model(tiny_base, dropout=0.0).requires_grad_(False)
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert {type(module) for module in linears} == {ExactLinear}
    calls = []

    def counted(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        calls.append(weight)
        return multiply(values, weight, bias)

    monkeypatch.setattr("training.loop.onednn.multiply", counted)
    exact = float(smoothed_loss(model, batch, 0.0))
    assert not calls
    model.train()
    assert float(smoothed_loss(model, batch, 0.0)) == pytest.approx(exact, rel=1e-5)
    assert len(calls) == len(linears) - 1, "all but the vocabulary projection, which is in the loss"
