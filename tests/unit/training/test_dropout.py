"""Quick dropout drops what it should, repeats itself, and acts in every family's layers."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from hub.bases import Base
from training.loop.batching import Example
from training.loop.dropout import QuickDropout, drop, quicken_modules
from training.loop.loss import Layout, collate, smoothed_loss
from training.loop.model import attach_config, load_base_model
from training.methods.lora import lora_config

LAYOUT = Layout(pad_id=1, decoder_start_id=2, forced=1)
BATCH = collate([Example((90, 11, 12, 2), (91, 20, 21, 2), 0)], LAYOUT)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 0.9])
def test_rate_and_scale(rate: float) -> None:
    torch.manual_seed(1)
    dropped = drop(torch.full((3, 333_333), 2.0), rate)
    share = float((dropped == 0).double().mean())
    deviation = (rate * (1 - rate) / 1_000_000) ** 0.5
    assert share == pytest.approx(rate, abs=4 * deviation + 2**-17)
    kept = dropped[dropped != 0]
    assert torch.allclose(kept, torch.full_like(kept, 2 / (1 - rate)), rtol=1e-3)
    for lane in range(4):  # four values share one draw, and none of them is worse than the rest
        lane_share = float((dropped.flatten()[lane::4] == 0).double().mean())
        assert lane_share == pytest.approx(rate, abs=8 * deviation + 2**-17)


def test_neighbours_are_independent() -> None:
    torch.manual_seed(1)
    kept = (drop(torch.ones(250_000, 4), 0.5) != 0).double()
    agree = torch.corrcoef(kept.T) - torch.eye(4)
    assert float(agree.abs().max()) < 0.01


def test_gradient_goes_where_the_values_went() -> None:
    values = torch.randn(1000, requires_grad=True)
    dropped = drop(values, 0.3)
    dropped.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert torch.allclose(values.grad * values, dropped)
    assert 0 < int((values.grad == 0).sum()) < 1000


def test_module_is_exact_outside_training_and_at_rate_zero() -> None:
    module = nn.Sequential(nn.Dropout(0.4), nn.Dropout(0.0))
    quicken_modules(module)
    assert all(type(each) is QuickDropout for each in module)
    values = torch.randn(100)
    assert not torch.equal(module(values), values)
    assert torch.equal(module[1](values), values)
    module.train(False)
    assert torch.equal(module(values), values)


def quick_loss(model: nn.Module, seed: int) -> float:
    torch.manual_seed(seed)
    return float(smoothed_loss(model, BATCH, 0.0).detach())


def test_layers_of_a_base_draw_from_the_seed(
    tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_base_model(tiny_base, dropout=0.3).train()
    calls = []
    monkeypatch.setattr(
        "training.loop.dropout.drop", lambda values, rate: calls.append(rate) or drop(values, rate)
    )
    assert quick_loss(model, 1) == quick_loss(model, 1) != quick_loss(model, 2)
    # two dropouts an encoder layer, three a decoder layer, and two layers of each
    assert calls == [0.3] * 3 * 2 * (2 + 3)
    model.train(False)
    assert quick_loss(model, 1) == quick_loss(model, 2)


def test_lora_has_its_own(tiny_base: Base) -> None:
    model = attach_config(
        load_base_model(tiny_base, dropout=0.0), lora_config(2, "qv", "m2m_100"), seed=1
    )
    own = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    assert {module.p for module in own} == {0.05}
    assert {type(module) for module in own} == {QuickDropout}


def test_a_layer_computed_again_for_its_gradient_draws_the_same(tiny_base: Base) -> None:
    def gradients(twice: bool) -> list[torch.Tensor]:
        model = load_base_model(tiny_base, dropout=0.3).train()
        for layer in model.modules():
            if twice and isinstance(layer, GradientCheckpointingLayer):
                layer.gradient_checkpointing = True
                layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
        torch.manual_seed(4)
        smoothed_loss(model, BATCH, 0.0).backward()  # type: ignore[no-untyped-call]
        return [p.grad for p in model.parameters() if p.grad is not None]

    once, again = gradients(False), gradients(True)
    assert len(once) == len(again) > 50
    for mine, other in zip(once, again, strict=True):
        torch.testing.assert_close(mine, other)
