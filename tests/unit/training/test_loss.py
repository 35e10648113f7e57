"""The loss counts what it should and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from hub.bases import Base
from hub.engine.testing import random_model
from training.loop.batching import Example
from training.loop.loss import Layout, collate, logits_at_predicted, smoothed_loss
from training.loop.model import load_base_model

LAYOUT = Layout(pad_id=1, decoder_start_id=2, forced=1)
SHORT = Example((90, 11, 2), (91, 20, 2), 0)
LONG = Example((90, 12, 13, 14, 2), (91, 21, 22, 23, 24, 2), 1)


@pytest.fixture(scope="module")
def model(tiny_base: Base) -> Any:
    return load_base_model(tiny_base, dropout=0.0)


def test_shifts_pads_and_leaves_out_forced_tokens() -> None:
    batch = collate([SHORT, LONG], LAYOUT)
    assert batch.source.tolist() == [[90, 11, 2, 1, 1], [90, 12, 13, 14, 2]]
    assert batch.source_mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch.decoder_input.tolist() == [[2, 91, 20, 2, 1, 1], [2, 91, 21, 22, 23, 24]]
    assert batch.predicted.int().tolist() == [[0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 1, 1]]
    assert batch.labels.tolist() == [20, 2, 21, 22, 23, 24, 2]
    assert batch.tokens == 3 + 3 + 5 + 6


@pytest.mark.parametrize(
    "family",
    ["", "mbart", "bart", "marian", "t5", "t5_gated", "mt5"],
    ids=lambda name: name or "base",
)
def test_equals_transformers_own_loss(model: Any, family: str) -> None:
    model = random_model(family, 0, {}) if family else model
    batch = collate([SHORT, LONG], LAYOUT)
    labels = torch.full(batch.decoder_input.shape, -100)
    labels[batch.predicted] = batch.labels
    with torch.no_grad():
        theirs = model(
            input_ids=batch.source,
            attention_mask=batch.source_mask,
            decoder_input_ids=batch.decoder_input,
            labels=labels,
        ).loss
        ours = smoothed_loss(model, batch, 0.0)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_smoothing_by_hand(model: Any) -> None:
    batch = collate([LONG], LAYOUT)
    with torch.no_grad():
        log_p = functional.log_softmax(logits_at_predicted(model, batch), dim=-1)
        ours = smoothed_loss(model, batch, 0.2)
    nll = -log_p[torch.arange(len(batch.labels)), batch.labels]
    by_hand = (0.8 * nll - 0.2 * log_p.mean(dim=-1)).mean()
    assert ours.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert abs(ours.item() - nll.mean().item()) > 1e-3


def test_padding_changes_nothing(model: Any) -> None:
    with torch.no_grad():
        alone = logits_at_predicted(model, collate([SHORT], LAYOUT))
        beside = logits_at_predicted(model, collate([SHORT, LONG], LAYOUT))[: len(alone)]
    assert torch.allclose(alone, beside, atol=1e-4)
