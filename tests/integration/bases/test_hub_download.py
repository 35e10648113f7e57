"""Bases by id: the real client of the Hub against a stand-in on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from hub.bases import open_base
from hub.errors import (
    BaseAccessError,
    BaseNotFoundError,
    BaseUnavailableError,
    CorruptBaseError,
    StorageFullError,
)

from ...support.hub_server import StandInHub
from ...support.published import published_model, published_state, write_bin

ID = "org/tiny"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def published(folder: Path, seed: int = 0, **options: Any) -> dict[str, bytes]:
    model = published_model("m2m_100", seed)
    return files_of(write_bin(folder, model, published_state(model, "m2m_100"), **options))


def saved(folder: Path, seed: int = 0, **options: Any) -> dict[str, bytes]:
    published_model("m2m_100", seed).save_pretrained(folder, **options)
    return files_of(folder)


def test_an_id_opens_and_says_what_it_fetches(
    hugging_face: StandInHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    files = published(tmp_path / "here")
    commit = hugging_face.repository(ID).commit(files)
    base = open_base(ID)
    said = capsys.readouterr().err
    assert (
        f"downloading {ID} ({commit[:12]}): {len(files['pytorch_model.bin']) / 1e6:.1f} MB" in said
    )
    assert base.commit == commit
    assert base.label == base.name == ID
    assert base.digest == open_base(str(tmp_path / "here")).digest
    before = len(hugging_face.requests)
    assert open_base(ID).folder == base.folder
    assert {request.method for request in hugging_face.requests[before:]} == {"HEAD"}


@pytest.mark.parametrize("shards", [1, 3])
def test_only_what_is_needed_is_fetched(hugging_face: StandInHub, tmp_path: Path, shards: int):
    options = {} if shards == 1 else {"max_shard_size": "60KB"}
    files = saved(tmp_path / "safe", **options)
    weights = {name for name in files if "safetensors" in name}
    assert len(weights) >= shards
    unwanted = {
        "pytorch_model.bin": b"x", "tf_model.h5": b"x", "flax_model.msgpack": b"x",
        "rust_model.ot": b"x", "onnx/model.onnx": b"x", "onnx/config.json": b"{}",
        "training_args.bin": b"x", "all_results.json": b"{}", "consolidated.safetensors": b"x",
    }  # fmt: skip
    side = {"vocab.json": b"{}", "sentencepiece.bpe.model": b"x", "README.md": b"# tiny"}
    hugging_face.repository(ID).commit(files | unwanted | side)
    open_base(ID)
    wanted = set(files) | set(side)
    assert sorted(hugging_face.fetched()) == sorted(wanted)


def test_a_revision_is_a_base_of_its_own(hugging_face: StandInHub, tmp_path: Path):
    repository = hugging_face.repository(ID)
    first = repository.commit(published(tmp_path / "one", seed=0))
    repository.refs["v1.0"] = first
    assert open_base(ID).commit == first
    second = repository.commit(published(tmp_path / "two", seed=1))
    moved = open_base(ID)
    assert moved.commit == second
    pinned = open_base(f"{ID}@{first}")
    assert pinned.digest == open_base(f"{ID}@v1.0").digest
    assert pinned.digest != moved.digest
    assert pinned.name == f"{ID}@{first}"


def test_a_gated_model_names_the_licence_and_the_login(hugging_face: StandInHub, tmp_path: Path):
    repository = hugging_face.repository(ID)
    repository.commit(published(tmp_path / "gated"))
    for access in ("gated", "forbidden"):
        repository.access = access
        with pytest.raises(BaseAccessError, match="accept its licence") as refused:
            open_base(ID)
        assert f"{hugging_face.url}/{ID}" in refused.value.message
        assert "hf auth login" in refused.value.message


def test_a_token_opens_a_gated_model(
    hugging_face: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from ...support.hub_server import TOKEN

    repository = hugging_face.repository(ID)
    repository.commit(published(tmp_path / "gated"))
    repository.access = "gated"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert open_base(ID).family == "m2m_100"


def test_what_is_missing_is_said(hugging_face: StandInHub, tmp_path: Path):
    with pytest.raises(BaseNotFoundError, match="neither a folder here nor a model on"):
        open_base("org/nothing")
    repository = hugging_face.repository(ID)
    repository.access = "private"
    with pytest.raises(BaseNotFoundError, match="hf auth login"):
        open_base(ID)
    repository.access = "open"
    repository.commit({"weights.gguf": b"x"})
    with pytest.raises(BaseNotFoundError, match=r"no config\.json"):
        open_base(ID)
    repository.commit({"config.json": b"{}", "tf_model.h5": b"x"})
    with pytest.raises(BaseNotFoundError, match=r"it has tf_model\.h5, which is not read"):
        open_base(ID)
    with pytest.raises(BaseNotFoundError, match="no revision 'v9'"):
        open_base(f"{ID}@v9")


@pytest.mark.parametrize(
    "ref",
    [
        "org/..", "../org", "../../etc", "org/na..me", "org/na me", "org/näme", "org/name@",
        "org/name@../../refs", "org/name@a//b", "org/name@-x", "org/name@a b", "org/\0",
        "~nobody/x",        "org/" + "n" * 300, "o" * 5000, "-org/name", "org/name.git",
    ],
)  # fmt: skip
def test_odd_refs_are_refused_and_ask_nothing(hugging_face: StandInHub, ref: str):
    with pytest.raises(BaseNotFoundError):
        open_base(ref)
    assert not hugging_face.requests


def test_a_broken_transfer_is_gone_on_with(
    hugging_face: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    files = published(tmp_path / "here")
    size = len(files["pytorch_model.bin"])
    hugging_face.repository(ID).commit(files)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    hugging_face.cuts["pytorch_model.bin"] = [50_000, 70_000]
    base = open_base(ID)
    assert base.digest == open_base(str(tmp_path / "here")).digest
    sent = [r for r in hugging_face.requests if r.method == "GET" and "/lfs/" in r.path]
    ranges = [r.headers.get("range") for r in sent]
    assert ranges == [None, "bytes=50000-", "bytes=120000-"]
    assert size > 120_000


def test_a_transfer_that_never_ends_leaves_nothing_and_is_made_again(
    hugging_face: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hugging_face.repository(ID).commit(published(tmp_path / "here"))
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    hugging_face.cuts["pytorch_model.bin"] = [0] * 20
    with pytest.raises(BaseUnavailableError, match="run the same command again"):
        open_base(ID)
    hugging_face.cuts.clear()
    assert open_base(ID).digest == open_base(str(tmp_path / "here")).digest


def test_offline_the_cache_answers_or_says_that_it_cannot(
    hugging_face: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    repository = hugging_face.repository(ID)
    repository.commit(published(tmp_path / "here"))
    hugging_face.repository("org/other").commit({"config.json": b"{}"})
    online = open_base(ID)
    repository.commit(published(tmp_path / "later", seed=1))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = len(hugging_face.requests)
    assert open_base(ID).digest == online.digest
    assert open_base(f"{ID}@{online.commit}").digest == online.digest
    for ref in ("org/other", f"{ID}@v1"):
        with pytest.raises(BaseUnavailableError, match="HF_HUB_OFFLINE forbids"):
            open_base(ref)
    assert len(hugging_face.requests) == before


def test_offline_a_snapshot_that_was_interrupted_is_not_whole(
    hugging_face: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hugging_face.repository(ID).commit(published(tmp_path / "here"))
    with monkeypatch.context() as patch:
        patch.setattr("hub.bases.download._download", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_base(ID)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BaseUnavailableError, match="not whole, in the cache"):
        open_base(ID)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_unreachable_hub_is_not_a_missing_model(
    hugging_face: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    repository = hugging_face.repository(ID)
    repository.commit(published(tmp_path / "here"))
    online = open_base(ID)
    hugging_face.down = 503
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    assert open_base(ID).digest == online.digest
    with pytest.raises(BaseUnavailableError, match="does not answer"):
        open_base("org/other")


def test_an_index_that_names_what_is_not_there_is_refused(hugging_face: StandInHub, tmp_path: Path):
    files = saved(tmp_path / "many", max_shard_size="60KB")
    index = json.loads(files["model.safetensors.index.json"])
    shard = sorted(set(index["weight_map"].values()))[0]
    repository = hugging_face.repository(ID)
    repository.commit({name: data for name, data in files.items() if name != shard})
    with pytest.raises(CorruptBaseError, match=f"names {shard}, which the model does not have"):
        open_base(ID)
    index["weight_map"] = dict.fromkeys(index["weight_map"], "../../x.safetensors")
    repository.commit({"model.safetensors.index.json": json.dumps(index).encode()})
    with pytest.raises(CorruptBaseError, match=r"names the file '\.\./\.\./x\.safetensors'"):
        open_base(ID)


def test_room_is_looked_for_before_the_download(
    hugging_face: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hugging_face.repository(ID).commit(published(tmp_path / "here"))
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("hub.bases.download.shutil.disk_usage", lambda path: usage)
    with pytest.raises(StorageFullError, match="set HF_HOME"):
        open_base(ID)
    assert "pytorch_model.bin" not in hugging_face.fetched()


def test_the_command_line_finds_the_hub_by_its_environment(
    hugging_face: StandInHub, tmp_path: Path
):
    hugging_face.repository(ID).commit(published(tmp_path / "here"))
    code = f"from hub.bases import open_base; print(open_base({ID!r}).digest)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == open_base(str(tmp_path / "here")).digest
