"""What goes wrong with adapters for translation elsewhere, held still; and the worked table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    MBartConfig,
    MBartForConditionalGeneration,
)

from hub.budget import ModelDimensions, solve
from hub.cli import run
from hub.errors import BudgetError
from training.methods.catalog import METHODS
from training.model import attach_config, count_trainable, quiet_libraries

with quiet_libraries():
    from peft import IA3Config, LNTuningConfig, LoraConfig, get_peft_model
    from peft.utils import PeftType

    from training.methods import plugin

LARGE: dict[str, Any] = {
    "d_model": 1024, "encoder_layers": 12, "decoder_layers": 12, "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096, "encoder_attention_heads": 16, "decoder_attention_heads": 16,
    "max_position_embeddings": 1024,
}  # fmt: skip
BASES: dict[str, tuple[Any, Any, int]] = {
    "nllb": (M2M100Config, 256_206, 615_073_792),
    "m2m": (M2M100Config, 128_112, 483_905_536),
    "mbart": (MBartConfig, 250_054, 610_879_488),
}
# Method, options → sizes within 1 % on NLLB-600M, M2M-418M and mBART-50.
ONE_PERCENT: dict[tuple[str, tuple[tuple[str, Any], ...]], tuple[int, int, int]] = {
    ("bottleneck", ()): (123, 96, 122),
    ("bottleneck", (("placement", "sublayer"), ("norm", False))): (49, 38, 49),
    ("lora", ()): (41, 32, 41),
    ("lora", (("targets", "attention"),)): (20, 16, 20),
    ("lora", (("targets", "all-linear"),)): (11, 8, 11),
    ("prefix", (("attentions", "decoder"),)): (250, 196, 248),
    ("bitfit", ()): (0, 0, 0),
    ("norms", (("norm_train", "both"),)): (0, 0, 0),
    ("ia3", ()): (0, 0, 0),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_libraries():
        yield


def on_meta(name: str) -> Any:
    config_class, vocabulary, _ = BASES[name]
    config = config_class(**LARGE, vocab_size=vocabulary)
    model = MBartForConditionalGeneration if name == "mbart" else M2M100ForConditionalGeneration
    with torch.device("meta"):
        return model(config)


@pytest.mark.parametrize("base", BASES)
def test_worked_totals_on_meta_models(base: str) -> None:
    model = on_meta(base)
    dims = ModelDimensions.from_config(model.config.to_dict())
    assert sum(p.numel() for p in model.parameters()) == dims.parameters == BASES[base][2]


@pytest.mark.parametrize(("row", "sizes"), ONE_PERCENT.items(), ids=lambda item: str(item))
@pytest.mark.parametrize("base", BASES)
def test_worked_sizes_are_instantiated_within_the_budget(
    base: str, row: tuple[str, tuple[tuple[str, Any], ...]], sizes: tuple[int, int, int]
) -> None:
    spec, options = METHODS[row[0]], dict(row[1])
    model = on_meta(base)
    dims = ModelDimensions.from_config(model.config.to_dict())
    found = solve(spec.name, 0.01, dims, spec.variant(spec.complete(options)))
    assert found.size == sizes[list(BASES).index(base)]
    config = spec.build(found.size, options, str(model.config.model_type))
    with torch.device("meta"):
        adapted = attach_config(model, config, seed=0)
    assert count_trainable(adapted) == found.trainable_parameters <= 0.01 * dims.parameters


def tiny() -> M2M100ForConditionalGeneration:
    torch.manual_seed(3)
    config = M2M100Config(
        vocab_size=50, d_model=16, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=24,
        decoder_ffn_dim=24, encoder_attention_heads=2, decoder_attention_heads=2,
        max_position_embeddings=32, init_std=0.3,
    )  # fmt: skip
    return M2M100ForConditionalGeneration(config).eval()


IDS = torch.tensor([[5, 9, 11, 2], [5, 9, 11, 2]])


@pytest.mark.parametrize("config", [LoraConfig, LNTuningConfig])
def test_peft_has_no_default_targets_for_m2m_so_ours_are_named(config: Any) -> None:
    with pytest.raises(ValueError, match="target_modules"):
        get_peft_model(tiny(), config(task_type="SEQ_2_SEQ_LM"))
    for name in METHODS:
        if name != "full":
            size = 2 if METHODS[name].size_name else 0
            assert METHODS[name].build(size, {}, "m2m_100").target_modules, name


def test_peft_ignores_adapter_names_for_ia3_so_it_is_not_mixed_there() -> None:
    config = METHODS["ia3"].build(0, {}, "m2m_100")
    assert isinstance(config, IA3Config)
    model = attach_config(tiny(), config, seed=0).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.mul_(2.0)
    arguments = {"input_ids": IDS, "decoder_input_ids": IDS}
    with torch.no_grad():
        mixed = model(**arguments, adapter_names=["default", "__base__"]).logits
        with model.disable_adapter():
            base = model(**arguments).logits
    assert not torch.allclose(mixed[1], base[1], atol=1e-3)
    assert torch.allclose(mixed[0], mixed[1])


def test_m2m_cannot_shift_labels_itself_so_the_loss_does_it() -> None:
    assert not hasattr(tiny(), "prepare_decoder_input_ids_from_labels")


def test_the_extended_enumeration_is_a_member_like_any_other() -> None:
    plugin.register_all()
    plugin.register_all()
    for name in ("BOTTLENECK", "BITFIT", "NORMS", "KV_PREFIX", "CROSS_ATTENTION"):
        assert PeftType(name).value == name
        assert list(PeftType).count(PeftType(name)) == 1
    assert PeftType("LORA") is PeftType.LORA


def test_pefts_own_count_is_of_base_and_adapter_so_it_is_not_used() -> None:
    model = attach_config(tiny(), METHODS["lora"].build(2, {}, "m2m_100"), seed=0)
    trained, total = model.get_nb_trainable_parameters()
    assert trained == count_trainable(model)
    assert total == sum(p.numel() for p in tiny().parameters()) + trained


def test_tied_embeddings_stay_tied_under_every_method() -> None:
    for name, spec in METHODS.items():
        if name == "full":
            continue
        size = 2 if spec.size_name else 0
        model = attach_config(tiny(), spec.build(size, {}, "m2m_100"), seed=0)
        base = model.get_base_model()
        assert base.lm_head.weight is base.model.shared.weight, name
        assert not model.peft_config["default"].to_dict().get("modules_to_save"), name


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].size_name])
def test_a_budget_below_the_minimum_names_it(method: str) -> None:
    dims = ModelDimensions.from_config(on_meta("m2m").config.to_dict())
    with pytest.raises(BudgetError, match="needs at least"):
        METHODS[method].solve(dims, METHODS[method].options, budget=1e-6, size=None)


def test_methods_command_prints_and_writes_the_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["methods"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in METHODS)
    file = tmp_path / "methods.json"
    words = ["methods", "--base", "embedded", "--pair", "en-ko", "--budgets", "0.001,1%"]
    assert run([*words, "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "does not fit, at least 0.00109" in printed  # 10,248 of 9,450,240 at width 1
    rows = json.loads(file.read_text())["solved"]["rows"]
    # 8 layers: (92,328 - 8·(256 + 512)) / 8·513 = 21
    assert [r["size"] for r in rows if r["variant"] == "layer"] == [None, 21]
    assert run(["methods", "--pair", "en-sw"]) == 64
    assert "no language 'sw'" in capsys.readouterr().err
