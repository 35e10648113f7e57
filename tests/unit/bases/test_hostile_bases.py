"""Damaged, hostile and impossible base folders: one clear error each, nothing run, nothing kept."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from hub.bases import open_base
from hub.cli import run
from hub.errors import CorruptBaseError, HubError
from hub.settings import load_settings

from ...support.published import edit_config, published_model, published_state, write_bin

STATE = dict[str, torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = published_model("m2m_100")
    return write_bin(tmp_path / "base", model, published_state(model, "m2m_100"))


@pytest.fixture
def state(folder: Path) -> STATE:
    return torch.load(folder / "pytorch_model.bin", weights_only=True)


def refused(folder: Path) -> str:
    """Open the base, check that it is refused in one line and nothing is kept; return the line."""
    with pytest.raises(HubError) as error:
        open_base(str(folder))
    assert "\n" not in error.value.message
    home = load_settings().cache / "bases"
    assert not home.exists() or [p for p in home.iterdir() if p.is_dir()] == []
    return error.value.message


def save(folder: Path, content: Any) -> Path:
    torch.save(content, folder / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_bin(folder: Path, state: STATE, legacy: bool, kept: float):
    path = folder / "pytorch_model.bin"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    told = refused(folder)
    assert str(path) in told
    assert "fetch the file again" in told


class Attack:
    def __init__(self, target: Any, *arguments: Any) -> None:
        self.called = (target, arguments)

    def __reduce__(self) -> Any:
        return self.called


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        ((os.system, "touch {}"), "posix.system"),
        ((eval, "open('{}', 'w')"), "asks for eval,"),
        ((exec, "open('{}', 'w')"), "asks for exec,"),
        ((Path, "{}"), "pathlib"),
    ],
)
def test_a_pickle_that_wants_to_run_code(
    folder: Path, tmp_path: Path, legacy: bool, call: Any, name: str
):
    proof = tmp_path / "ran"
    attack = Attack(call[0], *(word.format(proof) for word in call[1:]))
    torch.save(
        {"model.shared.weight": attack},
        folder / "pytorch_model.bin",
        _use_new_zipfile_serialization=not legacy,
    )
    told = refused(folder)
    assert "is refused: its pickle asks for" in told
    assert name in told
    assert "safetensors" in told
    assert "weights_only" not in told  # torch's advice is to switch the safeguard off
    assert not proof.exists()


def test_a_plain_pickle_is_not_read(folder: Path, tmp_path: Path):
    proof = tmp_path / "ran"
    attack = pickle.dumps(Attack(os.system, f"touch {proof}"))
    (folder / "pytorch_model.bin").write_bytes(attack)
    assert str(folder) in refused(folder)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "holds list, not a table of tensors"),
        (torch.ones(2), "holds Tensor"),
        ({"state_dict": {"x": torch.ones(2)}}, "holds dict under 'state_dict'"),
        ({"epoch": 3}, "holds int under 'epoch'"),
        ({3: torch.ones(2)}, "entry named 3"),
        ({"x": torch.ones(2).to_sparse()}, "'x' is not dense"),
        ({"x": torch.ones(2, device="meta")}, "'x' is not dense, or has no values"),
        ({"x": torch.ones(1).expand(10**9)}, "over fewer values"),
    ],
)
def test_what_is_no_table_of_tensors(folder: Path, content: Any, said: str):
    assert said in refused(save(folder, content))


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn]
)
@pytest.mark.parametrize("form", ["bin", "safetensors"])
def test_weights_that_are_no_floats(folder: Path, state: STATE, dtype: torch.dtype, form: str):
    key = "model.encoder.layers.0.fc1.weight"
    state[key] = state[key].to(dtype)
    if form == "bin":
        assert key in refused(save(folder, state))
        return
    unique = {name: tensor.clone() for name, tensor in state.items()}
    save_file(unique, folder / "model.safetensors")
    with pytest.raises(CorruptBaseError, match=f"{key}' is .*weights are one of F16"):
        _ = open_base(str(folder)).digest


@pytest.mark.parametrize(
    "name", ["model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"]
)
@pytest.mark.parametrize("form", ["bin", "safetensors"])
def test_a_second_token_table_is_refused_by_name(folder: Path, state: STATE, name: str, form: str):
    state[name] = state[name] + 1
    if form == "bin":
        told = refused(save(folder, state))
    else:
        save_file({key: t.clone() for key, t in state.items()}, folder / "model.safetensors")
        with pytest.raises(CorruptBaseError) as error:
            _ = open_base(str(folder)).digest
        told = error.value.message
    assert f"{name!r} differs from 'model.shared.weight'" in told


def test_positions_and_biases_that_the_family_does_not_have(tmp_path: Path):
    model = published_model("m2m_100")
    state = published_state(model, "m2m_100")
    key = "model.encoder.embed_positions.weights"
    folder = write_bin(tmp_path / "learned", model, state | {key: state[key] + 0.1})
    assert f"{key!r} holds positions other than the sinusoids" in refused(folder)
    bias = torch.full((1, model.config.vocab_size), 0.5)
    folder = write_bin(tmp_path / "bias", model, state | {"final_logits_bias": bias})
    assert "'final_logits_bias' is not zero" in refused(folder)
    fine = write_bin(tmp_path / "zero", model, state | {"final_logits_bias": bias * 0})
    assert "final_logits_bias" not in open_base(str(fine)).tensors


def test_marian_positions_that_were_learned(tmp_path: Path):
    model = published_model("marian")
    state = published_state(model, "marian")
    key = "model.decoder.embed_positions.weight"
    folder = write_bin(tmp_path / "marian", model, state | {key: torch.randn_like(state[key])})
    assert f"{key!r} holds positions other than" in refused(folder)


def index_of(folder: Path, weight_map: Any, name: str = "pytorch_model.bin") -> Path:
    content = json.dumps({"weight_map": weight_map})
    (folder / f"{name}.index.json").write_text(content, encoding="utf-8")
    (folder / "pytorch_model.bin").unlink()
    return folder


@pytest.mark.parametrize(
    ("weight_map", "said"),
    [
        (
            {"x": "pytorch_model-00001-of-00002.bin"},
            "names pytorch_model-00001-of-00002.bin, which",
        ),
        ({"x": "../x.bin"}, "names the file '../x.bin'"),
        ({"x": "/etc/passwd"}, "names the file '/etc/passwd'"),
        ({"x": ".."}, "names the file '..'"),
        ({"x": ""}, "names the file ''"),
        ({"x": 3}, "names the file 3"),
        ({"x": "config.json"}, "which is no .bin file"),
        ({}, "has no weight_map"),
        ([1], "has no weight_map"),
    ],
)
def test_an_index_that_names_what_it_must_not(folder: Path, weight_map: Any, said: str):
    assert said in refused(index_of(folder, weight_map))


def test_an_index_of_tensors_that_its_shards_do_not_hold(folder: Path, state: STATE):
    save_file({"a": torch.ones(2)}, folder / "model-1.safetensors")
    index_of(folder, {"b": "model-1.safetensors"}, "model.safetensors")
    assert "places tensor 'b' in" in refused(folder)
    (folder / "model.safetensors.index.json").unlink()
    torch.save(state, folder / "part.bin")
    (folder / "pytorch_model.bin").touch()
    index_of(folder, dict.fromkeys(("model.shared.weight", "b"), "part.bin"))
    assert "the index names tensor 'b'" in refused(folder)


def test_one_tensor_in_two_shards(folder: Path, state: STATE):
    torch.save(state, folder / "one.bin")
    torch.save(state, folder / "two.bin")
    index_of(folder, {"model.shared.weight": "one.bin", "lm_head.weight": "two.bin"})
    assert "in another shard" in refused(folder)


def header(length: int, text: bytes = b"") -> bytes:
    return struct.pack("<Q", length) + text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read as safetensors"),
        (header(2**63), "a header of 9223372036854775808 bytes, at most 100000000 are read"),
        (header(99_000_000, b"{}"), "a header of 99000000 bytes in a file of 10"),
        (header(6, b"[1, 2]"), "no JSON object"),
        (header(4000, b"[" * 4000), "cannot be read as safetensors"),
        (header(12, b'{"x": [1, 2]}'[:12]), "cannot be read as safetensors"),
        (
            header(62, b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,99999999]}} '),
            "has 99999999 bytes for shape (2,)",
        ),
        (
            header(58, b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}    ')
            + b"12345678x",
            "bytes, its header describes",
        ),
        (
            header(58, b'{"x":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}   ') + b"12345678",
            "-2 in the header",
        ),
    ],
)
def test_headers_that_are_none(folder: Path, content: bytes, said: str):
    (folder / "model.safetensors").write_bytes(content)
    assert said in refused(folder)


def test_an_archive_that_unpacks_to_more_than_it_is(folder: Path):
    path = folder / "pytorch_model.bin"
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.writestr("archive/data/bomb", b"\0" * 50_000_000)
    assert path.stat().st_size < 1_000_000
    assert "compressed, which PyTorch never writes" in refused(folder)


def test_aliases_of_one_storage_are_not_unfolded(folder: Path, state: STATE):
    """Many names for the same bytes would make a small file a large folder."""
    table = torch.zeros(2_000_000)
    content = state | {f"model.extra.{number}": table for number in range(50)}
    told = refused(save(folder, content))
    assert "bytes of tensors in" in told


@pytest.mark.parametrize("name", ["config.json", "pytorch_model.bin", "generation_config.json"])
def test_a_link_out_of_the_folder(folder: Path, tmp_path: Path, name: str):
    outside = tmp_path / "outside"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    assert f"is a link to {outside}, outside of the base's folder" in refused(folder)


def test_links_inside_the_folder_and_links_to_nothing(folder: Path):
    (folder / "pytorch_model.bin").rename(folder / "weights")
    (folder / "pytorch_model.bin").symlink_to("weights")
    assert open_base(str(folder)).family == "m2m_100"
    (folder / "tokenizer.json").symlink_to("nothing.json")
    with pytest.raises(CorruptBaseError, match="which does not exist"):
        open_base(str(folder))


def test_the_links_of_the_hubs_cache_are_inside(folder: Path, tmp_path: Path):
    """Snapshot to blob, and blob to what several models share."""
    repository = tmp_path / "hub" / "models--org--tiny"
    snapshot = repository / "snapshots" / ("a" * 40)
    shared = tmp_path / "hub" / "blobs" / "ab"
    for made in (snapshot, repository / "blobs", shared):
        made.mkdir(parents=True)
    (folder / "config.json").rename(repository / "blobs" / "1")
    (snapshot / "config.json").symlink_to("../../blobs/1")
    (folder / "pytorch_model.bin").rename(shared / "abcd")
    (repository / "blobs" / "2").symlink_to("../../blobs/ab/abcd")
    (snapshot / "pytorch_model.bin").symlink_to("../../blobs/2")
    assert open_base(str(snapshot)).family == "m2m_100"
    (repository / "blobs" / "1").rename(repository / "elsewhere")
    (repository / "blobs" / "1").symlink_to("../elsewhere")
    with pytest.raises(CorruptBaseError, match="outside of the base's folder"):
        open_base(str(snapshot))


def test_a_lfs_pointer_says_git_lfs_pull(folder: Path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    (folder / "pytorch_model.bin").write_bytes(pointer)
    assert "`git lfs pull`" in refused(folder)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tf_model.h5", "it holds tf_model.h5 (TensorFlow), which is not read"),
        ("flax_model.msgpack", "(Flax)"),
        ("rust_model.ot", "(rust-bert)"),
        ("model-00001-of-00002.safetensors", "nor an index of shards"),
        ("weights.bin", "rename the file if it is the whole model"),
    ],
)
def test_weights_of_other_frameworks_or_names(folder: Path, name: str, said: str):
    (folder / "pytorch_model.bin").rename(folder / name)
    assert said in refused(folder)


def test_an_adapter_in_the_base_is_not_taken_in(folder: Path):
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}', encoding="utf-8")
    assert "adapter_config.json, which transformers would load" in refused(folder)


def test_a_config_that_names_other_weights(folder: Path):
    edit_config(folder, {"transformers_weights": "../other.safetensors"})
    assert "transformers_weights of config.json names '../other.safetensors'" in refused(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": ' * 100_000, "\udcff", ""])
def test_configs_that_are_none(folder: Path, text: str):
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "config.json" in refused(folder)


def test_a_family_that_is_not_served(folder: Path):
    edit_config(folder, {"model_type": "llama"})
    assert "does not serve model_type 'llama'" in refused(folder)


def test_on_the_command_line_it_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]):
    save(folder, {"model.shared.weight": Attack(os.system, "true")})
    assert run(["bases", "show", str(folder)]) == 65
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert len(told.splitlines()) == 1
    assert "posix.system" in told
