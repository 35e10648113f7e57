"""What goes wrong with adapters for translation elsewhere, held still; and the worked table."""

from __future__ import annotations

import json
import shutil
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

from hub.bases import Base
from hub.bases.tokenizer import BaseTokenizer
from hub.budget import ModelDimensions, solve
from hub.cli import run
from hub.errors import BudgetError, CorpusError
from hub.languages import LanguagePair
from tests.unit.training.conftest import TOKENIZER_FILES
from training.corpora import SentencePair
from training.loop.examples import encode_corpus
from training.loop.model import attach_config, count_trainable, quiet_libraries
from training.methods.catalog import METHODS

with quiet_libraries():
    from peft import (
        IA3Config,
        LNTuningConfig,
        LoraConfig,
        PrefixTuningConfig,
        get_peft_model,
    )
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


def two_loras() -> Any:
    """Return a model with adapters "default" and "other" that both act, and differ."""
    model = attach_config(tiny(), METHODS["lora"].build(2, {}, "m2m_100"), seed=0)
    model.add_adapter("other", METHODS["lora"].build(2, {}, "m2m_100"))
    torch.manual_seed(5)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.5)
    return model.eval()


def test_peft_reads_the_beams_of_a_mixed_batch_from_the_keyword_alone() -> None:
    names = ["default", "other", "__base__"]
    arguments: dict[str, Any] = {
        "input_ids": IDS[:1].repeat(3, 1), "adapter_names": names, "max_new_tokens": 6,
    }  # fmt: skip
    model = two_loras()
    model.generation_config.num_beams = 3
    with torch.no_grad(), pytest.raises(ValueError, match="adapter_names"):
        model.generate(**arguments)
    with torch.no_grad():
        found = model.generate(**arguments, num_beams=3)
    assert len({tuple(row.tolist()) for row in found}) > 1  # the rows do differ


def test_pefts_prefix_leaves_the_encoder_alone_and_ours_does_not() -> None:
    arguments = {"input_ids": IDS, "decoder_input_ids": IDS}
    theirs = PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3)
    spec = METHODS["prefix"]
    systems: dict[str, Any] = {
        "theirs": get_peft_model(tiny(), theirs).eval(),
        "decoder": attach_config(
            tiny(), spec.build(3, spec.complete({"attentions": "decoder"}), "m2m_100"), seed=0
        ),
        "all": attach_config(tiny(), spec.build(3, spec.options, "m2m_100"), seed=0),
    }
    with torch.no_grad():
        plain = tiny()(**arguments)
        found = {}
        for name, model in systems.items():
            for key, parameter in model.named_parameters():
                if parameter.requires_grad:
                    torch.manual_seed(len(key))
                    parameter.data.normal_()
            found[name] = model.eval()(**arguments)
    for outputs in found.values():
        assert not torch.allclose(outputs.logits, plain.logits, atol=1e-3)

    def encoder_unchanged(name: str) -> bool:
        states = found[name].encoder_last_hidden_state
        return torch.allclose(states, plain.encoder_last_hidden_state, atol=1e-6)

    assert {name: encoder_unchanged(name) for name in systems} == {
        "theirs": True, "decoder": True, "all": False,
    }  # fmt: skip


def test_labels_hold_language_text_and_end_once(tiny_base: Base, tokenizer: BaseTokenizer) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(tiny_base.folder, src_lang="en", tgt_lang="de")
    pair = theirs("two days", text_target="zwei Tage")
    assert tokenizer.encode_source("two days", "en") == pair["input_ids"]
    assert tokenizer.encode_target("zwei Tage", "de") == pair["labels"]
    assert tokenizer.target_prefix("de") == pair["labels"][:1] != pair["input_ids"][:1]
    assert pair["labels"].count(tokenizer.eos_id) == 1 == pair["input_ids"].count(tokenizer.eos_id)


def test_a_base_with_more_rows_than_pieces_translates(tiny_base: Base, tmp_path: Path) -> None:
    """Resized embeddings gave empty output elsewhere: rows without a piece must not matter."""
    from hub.bases import open_base
    from hub.bases.tokenizer import load_tokenizer
    from training.evidence.decode import Decoder

    model = M2M100ForConditionalGeneration.from_pretrained(tiny_base.folder)
    rows = model.config.vocab_size
    model.resize_token_embeddings(rows + 64, mean_resizing=False)
    with torch.no_grad():
        model.model.shared.weight[rows:] = -5.0 * model.model.shared.weight[:rows].mean(0)
    folder = tmp_path / "resized"
    model.save_pretrained(folder)
    for name in (*TOKENIZER_FILES, "base.json"):
        shutil.copy(tiny_base.folder / name, folder / name)
    pair = LanguagePair("en", "de")
    texts = ["two days ago", "Monday, 5 June"]
    outputs = [
        Decoder(base, load_tokenizer(base), "float32").translate(pair, texts, 0)
        for base in (tiny_base, open_base(str(folder)))
    ]
    assert all(outputs[0])
    assert outputs[0] == outputs[1]


def test_a_target_that_the_vocabulary_cannot_spell_is_refused(
    tokenizer: BaseTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing Chinese characters elsewhere came out as nothing at all."""
    pair = LanguagePair("en", "de")
    lines = [SentencePair(f"{i} days", f"{i} Tage", "x", f"x:{i}") for i in range(40)]
    assert encode_corpus(lines, pair, tokenizer, max_positions=50).unspelt == 0
    # What the vocabulary lacks: as if the word "Tage" had no piece.
    word = tokenizer.encode_target("Tage", "de")[1]
    monkeypatch.setattr(type(tokenizer), "unk_id", property(lambda self: word))
    with pytest.raises(CorpusError, match=r"1\d% of the target's pieces"):
        encode_corpus(lines, pair, tokenizer, max_positions=50)


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
