"""Folded adapters on every family: the engine's logits are those of PEFT's own adapter."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AdaLoraConfig, LoraConfig, PeftConfig, VeraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from hub.bases import open_base
from hub.engine.engine import Engine
from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.engine.testing import random_model
from hub.registry.exchange.folding import fold
from hub.registry.exchange.reference import load_transformers, put_into_peft

from .conftest import TASK

NAMES = {"marian": ["q_proj", "fc2"], "mbart": ["v_proj", "fc1"], "t5_gated": ["q", "wi_1", "wo"],
         "mt5": ["o"]}  # fmt: skip


def forms(names: list[str]) -> list[PeftConfig]:
    return [
        AdaLoraConfig(task_type=TASK, init_r=4, target_r=2, total_step=9, target_modules=names),
        VeraConfig(task_type=TASK, r=6, target_modules=names),
        LoraConfig(task_type=TASK, r=3, target_modules=names, init_lora_weights="pissa"),
        LoraConfig(task_type=TASK, r=3, target_modules=names, init_lora_weights="olora"),
    ]


@pytest.mark.parametrize("number", range(4), ids=["AdaLoRA", "VeRA", "PiSSA", "OLoRA"])
@pytest.mark.parametrize("family", NAMES)
def test_every_family(family: str, number: int, tmp_path: Path) -> None:
    random_model(family, 3, {}).save_pretrained(tmp_path / "base")
    base = open_base(str(tmp_path / "base"))
    theirs = saved(load_transformers(base), forms(NAMES[family])[number], tmp_path / "theirs")
    config = json.loads((theirs / "adapter_config.json").read_text(encoding="utf-8"))
    tensors = load_file(theirs / "adapter_model.safetensors")
    reference = put_into_peft(load_transformers(base), theirs, tensors)
    made = fold(config, reference)
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "adapter_config.json").write_text(json.dumps(made.config), encoding="utf-8")
    save_file(dict(made.tensors), ours / "adapter_model.safetensors")
    engine = Engine.load(base, quantization="float32", slots=1, max_rows=4)
    engine.place(1, engine.read_adapter(ours))
    source, target = (9, 17, 40, 2), (5, 33, 8)
    options = DecodingOptions(max_new_tokens=1)
    found = {
        slot: engine.forced_logits([DecodeRequest(0, source, target, slot, options)])[0]
        for slot in (0, 1)
    }
    with torch.no_grad():
        expected = reference.model(
            input_ids=torch.tensor([source]),
            decoder_input_ids=torch.tensor(
                [[reference.model.generation_config.decoder_start_token_id, *target]]
            ),
        ).logits[0]
    assert (found[1] - found[0]).abs().max() > 0.05
    torch.testing.assert_close(found[1], expected, atol=2e-4, rtol=1e-4)


def saved(model: Any, config: PeftConfig, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(5)
        wrapped = get_peft_model(model, config)
        with torch.no_grad():
            for parameter in wrapped.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        wrapped.save_pretrained(folder)
    return folder
