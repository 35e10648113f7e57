"""Checkpoints as they are published open, and compute what transformers computes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForSeq2SeqLM

from hub.bases import Base, open_base
from hub.engine.engine import Engine
from hub.engine.requests import DecodeRequest, DecodingOptions

from ...support.published import (
    FAMILIES,
    edit_config,
    published_model,
    published_state,
    write_bin,
)


def logits_of_transformers(folder: Path, request: DecodeRequest) -> torch.Tensor:
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    start = model.generation_config.decoder_start_token_id
    with torch.no_grad():
        return model(
            input_ids=torch.tensor([request.source_ids]),
            decoder_input_ids=torch.tensor([[start, *request.prefix_ids]]),
        ).logits[0]


def logits_of_engine(base: Base, request: DecodeRequest) -> torch.Tensor:
    engine = Engine.load(base, quantization="float32", slots=1, max_rows=8)
    return engine.forced_logits([request])[0]


REQUEST = DecodeRequest(0, (5, 9, 31, 77, 8, 2), (7, 40, 11), 0, DecodingOptions(max_new_tokens=1))


def same_logits(base: Base, folder: Path) -> bool:
    ours, theirs = logits_of_engine(base, REQUEST), logits_of_transformers(folder, REQUEST)
    return ours.shape == theirs.shape and torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bin_opens_and_equals_transformers_before_and_after(family: str, tmp_path: Path):
    model = published_model(family)
    folder = write_bin(tmp_path / "base", model, published_state(model, family))
    base = open_base(str(folder))
    assert base.folder != folder
    assert not list(base.folder.glob("*.bin"))
    assert base.label == "base"
    assert same_logits(base, folder)
    assert same_logits(base, base.folder)
    other = published_model(family, seed=1)
    write_bin(tmp_path / "other", other, published_state(other, family))
    assert not same_logits(base, tmp_path / "other")


def tokens_of_transformers(folder: Path) -> list[tuple[int, ...]]:
    """What generate finds, greedy and with beams, without the start and what follows the end."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    end = model.generation_config.eos_token_id
    found = []
    for beams in BEAMS:
        search = {"length_penalty": 1.0, "early_stopping": False} if beams > 1 else {}
        for source in SOURCES:
            row = model.generate(
                input_ids=torch.tensor([source]), num_beams=beams, max_new_tokens=LENGTH,
                do_sample=False, **search,
            )[0].tolist()[1:]  # fmt: skip
            found.append(tuple(row[: row.index(end)] if end in row else row))
    return found


def tokens_of_engine(base: Base) -> list[tuple[int, ...]]:
    engine = Engine.load(base, quantization="float32", slots=1, max_rows=32)
    choices = [DecodingOptions(beam_size=beams, max_new_tokens=LENGTH) for beams in BEAMS]
    pairs = [(source, options) for options in choices for source in SOURCES]
    requests = [DecodeRequest(key, pair[0], (), 0, pair[1]) for key, pair in enumerate(pairs)]
    return [done.hypotheses[0].token_ids for done in engine.translate(requests)]


LENGTH, BEAMS = 9, (1, 3)
SOURCES = [(5, 9, 31, 77, 8, 2), (64, 40, 12), (99, 17, 23, 42, 55, 61, 70, 11)]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_tokens_as_transformers_before_and_after(family: str, tmp_path: Path):
    model = published_model(family)
    folder = write_bin(tmp_path / "base", model, published_state(model, family))
    expected = tokens_of_transformers(folder)
    assert len(set(expected)) > 2
    base = open_base(str(folder))
    assert tokens_of_engine(base) == expected
    assert tokens_of_transformers(base.folder) == expected


@pytest.mark.parametrize(("shards", "legacy"), [(3, False), (1, True), (2, True)])
def test_shards_and_the_old_format_are_the_same_base(shards: int, legacy: bool, tmp_path: Path):
    model = published_model("m2m_100")
    state = published_state(model, "m2m_100")
    one = open_base(str(write_bin(tmp_path / "one", model, state)))
    many = write_bin(tmp_path / "many", model, state, shards=shards, legacy=legacy)
    assert open_base(str(many)).digest == one.digest


@pytest.mark.parametrize("family", FAMILIES)
def test_the_digest_is_of_content_not_of_form(family: str, tmp_path: Path):
    model = published_model(family)
    state = published_state(model, family)
    folder = write_bin(tmp_path / "bin", model, state)
    base = open_base(str(folder))
    # transformers' own conversion: another config.json, other names, no copies.
    saved = tmp_path / "saved"
    AutoModelForSeq2SeqLM.from_pretrained(folder).save_pretrained(saved)
    assert open_base(str(saved)).digest == base.digest
    assert (saved / "config.json").read_bytes() != (folder / "config.json").read_bytes()
    # The Hub's bot: one of the names of what is shared, in the same folder, beside the pickle.
    both = tmp_path / "both"
    shutil.copytree(folder, both)
    unique = {tensor.data_ptr(): name for name, tensor in sorted(state.items())}
    save_file(
        {name: state[name].contiguous() for name in unique.values()},
        both / "model.safetensors",
        metadata={"format": "pt"},
    )
    opened = open_base(str(both))
    assert opened.folder == both
    assert opened.digest == base.digest
    assert open_base(str(base.folder)).digest == base.digest


def test_the_digest_follows_values_dtypes_and_the_network(tmp_path: Path):
    model = published_model("m2m_100")
    state = published_state(model, "m2m_100")
    seen = {open_base(str(write_bin(tmp_path / "plain", model, state))).digest}

    def digest(name: str, changed: dict[str, torch.Tensor], **config: Any) -> str:
        return open_base(str(write_bin(tmp_path / name, model, changed, config=config))).digest

    key = "model.encoder.layers.0.fc1.bias"
    seen.add(digest("value", state | {key: state[key] + 1}))
    seen.add(digest("dtype", state | {key: state[key].half()}))
    seen.add(digest("network", state, activation_function="gelu"))
    assert len(seen) == 4
    same = digest("words", state, architectures=["Other"], _name_or_path="x", use_cache=False)
    assert same in seen


def test_mixed_dtypes_are_kept(tmp_path: Path):
    model = published_model("marian")
    state = published_state(model, "marian")
    table = state["model.shared.weight"].bfloat16()
    names = [name for name in state if "shared" in name or "embed_tokens" in name]
    state |= dict.fromkeys((*names, "lm_head.weight"), table)
    state["model.encoder.layers.0.fc1.weight"] = state["model.encoder.layers.0.fc1.weight"].half()
    base = open_base(str(write_bin(tmp_path / "mixed", model, state)))
    found = {name: place.dtype for name, place in base.tensors.items()}
    assert found["model.shared.weight"] == "BF16"
    assert found["model.encoder.layers.0.fc1.weight"] == "F16"
    assert found["model.encoder.layers.0.fc2.weight"] == "F32"
    assert "lm_head.weight" not in found
    assert same_logits(base, tmp_path / "mixed")


def test_safetensors_win_and_stray_files_are_left_alone(tmp_path: Path):
    model, stray = published_model("m2m_100"), published_model("m2m_100", seed=1)
    folder = tmp_path / "base"
    model.save_pretrained(folder)
    digest = open_base(str(folder)).digest
    torch.save(stray.state_dict(), folder / "pytorch_model.bin")
    stray.save_pretrained(tmp_path / "stray")
    shutil.copy(tmp_path / "stray" / "model.safetensors", folder / "consolidated.safetensors")
    save_file({"base_model.model.x": torch.ones(2)}, folder / "adapter_model.safetensors")
    base = open_base(str(folder))
    assert base.folder == folder
    assert base.digest == digest
    assert same_logits(base, folder)


def test_sharded_safetensors_are_one_base(tmp_path: Path):
    model = published_model("m2m_100")
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "many", max_shard_size="40KB")
    assert len(list((tmp_path / "many").glob("model-*.safetensors"))) > 1
    base = open_base(str(tmp_path / "many"))
    assert base.digest == open_base(str(tmp_path / "one")).digest
    assert same_logits(base, tmp_path / "many")


@pytest.mark.parametrize("family", ["m2m_100", "mbart", "marian", "t5"])
@pytest.mark.parametrize("form", ["bin", "safetensors"])
def test_an_output_table_that_differs_is_used(family: str, form: str, tmp_path: Path):
    model = published_model(family)
    state = published_state(model, family)
    folder = write_bin(tmp_path / "tied", model, state)
    tied = open_base(str(folder))
    own = torch.randn_like(state["lm_head.weight"])
    folder = write_bin(tmp_path / "own", model, state | {"lm_head.weight": own})
    if form == "safetensors":
        found = {name: tensor.clone() for name, tensor in load_bin(folder).items()}
        save_file(found, folder / "model.safetensors", metadata={"format": "pt"})
    base = open_base(str(folder))
    assert base.config["tie_word_embeddings"] is True
    assert same_logits(base, folder)
    assert same_logits(base, base.folder)
    assert not same_logits(tied, folder)
    assert base.parameters == tied.parameters + own.numel()
    assert base.digest != tied.digest


def load_bin(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "pytorch_model.bin", weights_only=True)


def test_equal_copies_in_safetensors_count_once(tmp_path: Path):
    """T5 of the first generation, as save_file of a plain state dict leaves it."""
    model = published_model("t5")
    folder = write_bin(tmp_path / "t5", model, published_state(model, "t5"))
    copies = {name: tensor.clone() for name, tensor in load_bin(folder).items()}
    assert "lm_head.weight" in copies
    plain = open_base(str(folder))
    save_file(copies, folder / "model.safetensors", metadata={"format": "pt"})
    base = open_base(str(folder))
    assert base.folder == folder
    assert base.parameters == plain.parameters == sum(p.numel() for p in model.parameters())
    assert base.digest == plain.digest


def test_marian_positions_that_are_stored_are_checked_and_left_out(tmp_path: Path):
    model = published_model("marian")
    state = published_state(model, "marian")
    key = "model.encoder.embed_positions.weight"
    assert key in state
    base = open_base(str(write_bin(tmp_path / "marian", model, state)))
    assert key not in base.tensors
    assert same_logits(base, tmp_path / "marian")


def test_the_conversion_is_made_once_and_again_after_an_edit(tmp_path: Path, capsys):
    model = published_model("m2m_100")
    folder = write_bin(tmp_path / "base", model, published_state(model, "m2m_100"))
    first = open_base(str(folder))
    said = capsys.readouterr().err
    assert f"converting {folder}: " in said
    assert "MB" in said
    again = open_base(str(folder))
    assert again.folder == first.folder
    assert capsys.readouterr().err == ""
    moved = tmp_path / "moved"
    folder.rename(moved)
    assert open_base(str(moved)).folder == first.folder
    edit_config(moved, {"max_length": 50})
    edited = open_base(str(moved))
    assert edited.folder != first.folder
    assert edited.config["max_length"] == 50


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.json"])
def test_a_conversion_that_lost_something_is_made_again(tmp_path: Path, name: str):
    model = published_model("m2m_100")
    folder = write_bin(tmp_path / "base", model, published_state(model, "m2m_100"))
    (folder / "vocab.json").write_text("{}", encoding="utf-8")
    made = open_base(str(folder)).folder
    whole = (made / name).read_bytes()
    (made / name).chmod(0o644)
    (made / name).write_bytes(whole[:-1])
    assert open_base(str(folder)).folder == made
    assert (made / name).read_bytes() == whole
