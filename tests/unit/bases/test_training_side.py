"""What training loads of a published base is what serving computes with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hub.bases import open_base
from hub.errors import CorruptBaseError
from training.loop import model as training_model
from training.loop.model import load_base_model

from ...support.published import FAMILIES, published_model, published_state, write_bin


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_are_those_of_the_model_that_is_trained(family: str, own: bool, tmp_path: Path):
    model = published_model(family)
    state = published_state(model, family)
    if own:
        state["lm_head.weight"] = torch.randn_like(state["lm_head.weight"])
    base = open_base(str(write_bin(tmp_path / "base", model, state)))
    loaded = load_base_model(base, dropout=0.0)
    fixed = {name for name, _ in loaded.named_parameters() if "embed_positions" in name}
    computed = fixed if family == "marian" else set()
    counted = sum(p.numel() for name, p in loaded.named_parameters() if name not in computed)
    assert counted == base.parameters
    assert base.has_own_output is (own or family in ("t5_gated", "mt5"))


def test_a_library_that_ties_what_differs_is_not_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = published_model("m2m_100")
    state = published_state(model, "m2m_100")
    state["lm_head.weight"] = torch.randn_like(state["lm_head.weight"])
    base = open_base(str(write_bin(tmp_path / "base", model, state)))
    load_base_model(base, dropout=0.0)
    monkeypatch.setattr(training_model, "_is_tied", lambda loaded: True)
    with pytest.raises(CorruptBaseError, match="ties its output table"):
        load_base_model(base, dropout=0.0)
