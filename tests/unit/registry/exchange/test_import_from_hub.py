"""Adapters by id: the real client of the Hub against a stand-in on loopback, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants
from peft import LoraConfig

from hub.bases import Base
from hub.cli import run
from hub.errors import (
    AdapterNotFoundError,
    BaseAccessError,
    BaseUnavailableError,
    HubError,
    IncompatibleAdapterError,
)
from hub.registry import Registry
from hub.registry.exchange.importing import Imported

from ....support.hub_server import StandInHub
from .conftest import TASK, Make

ID = "team/en-ko-lora"
Take = Callable[..., Imported]


@pytest.fixture
def files(make: Make) -> dict[str, bytes]:
    folder = make(LoraConfig(task_type=TASK, r=2, target_modules=["q_proj"]))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_id_and_a_revision_are_imported(
    hugging_face: StandInHub, files: dict[str, bytes], take: Take
) -> None:
    repository = hugging_face.repository(ID)
    first = repository.commit(files | {"big.onnx": b"x" * 1000, "README.md": b"# theirs"})
    repository.commit({"adapter_config.json": b"{}"})
    with pytest.raises(IncompatibleAdapterError, match="kind None"):
        take(ID)
    origin = take(f"{ID}@{first}").version.manifest.origin
    assert origin is not None
    assert origin.source == f"{ID}@{first}"
    assert not any("big.onnx" in path for path in hugging_face.fetched())


def test_a_pickle_is_fetched_only_where_there_are_no_safetensors(
    hugging_face: StandInHub, files: dict[str, bytes], take: Take
) -> None:
    hugging_face.repository(ID).commit(files | {"adapter_model.bin": b"never"})
    take(ID)
    assert not any(path.endswith(".bin") for path in hugging_face.fetched())


def gate(hub: StandInHub) -> None:
    hub.repository(ID).access = "gated"


@pytest.mark.parametrize(
    ("ref", "spoil", "error", "words"),
    [
        ("team/none", None, AdapterNotFoundError, "neither a folder nor an id"),
        (f"{ID}@v9", None, AdapterNotFoundError, "no revision 'v9'"),
        (ID, gate, BaseAccessError, "is gated.*hf auth login"),
        ("team/model", None, AdapterNotFoundError, "no adapter_config.json"),
    ],
)
def test_what_the_hub_refuses_is_said(
    hugging_face: StandInHub,
    files: dict[str, bytes],
    take: Take,
    ref: str,
    spoil: Callable[[StandInHub], None] | None,
    error: type[HubError],
    words: str,
) -> None:
    hugging_face.repository(ID).commit(files)
    hugging_face.repository("team/model").commit({"config.json": b"{}"})
    if spoil:
        spoil(hugging_face)
    with pytest.raises(error, match=words):
        take(ref)


def test_offline_the_cache_alone_answers(
    hugging_face: StandInHub,
    files: dict[str, bytes],
    take: Take,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hugging_face.repository(ID).commit(files)
    take(ID)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    take(ID)
    with pytest.raises(BaseUnavailableError, match="HF_HUB_OFFLINE"):
        take("team/other")


def test_the_command_says_what_it_did(
    files: dict[str, bytes],
    make: Make,
    base: Base,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = make(LoraConfig(task_type=TASK, r=2, target_modules=["q_proj"]))
    (folder / "training_args.bin").write_bytes(b"")
    monkeypatch.setenv("HUB_REGISTRY", str(root))
    words = ["adapters", "import", str(folder), "--pair", "en-ko", "--base", str(base.folder)]
    assert run([*words, "--alias", "prod"]) == 0
    told = capsys.readouterr()
    with Registry.open(root) as registry:
        version = registry.resolve("en-ko.lora@prod")
    assert told.out == f"en-ko.lora:1 {version.digest}\n"
    assert "ignored: training_args.bin" in told.err
    assert "equal to PEFT on 8 lines" in told.err
    assert "base licence: CC-BY-NC-4.0: no commercial use" in told.err
    assert run([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["corpus"] is record["recipe_digest"] is record["seed"] is None
    assert record["origin"]["source"] == "theirs"
    assert run(["adapters", "show", "en-ko.lora"]) == 0
    shown = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert shown["corpus"] == shown["budget"] == "not known"
    assert shown["recipe"] == "not known, seed not known"
    assert shown["origin"] == "imported from theirs"
    assert shown["original files"].startswith("sha256:")
    assert run([*words, "--name", "No Name"]) == 64
    assert run(["adapters", "import", str(folder), "--pair", "en"]) == 64


def test_publishing_a_foreign_folder_names_the_command(
    make: Make, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HUB_REGISTRY", str(root))
    folder = make(LoraConfig(task_type=TASK, r=2, target_modules=["q_proj"]))
    for more in ([], ["--name", "a"]):
        assert run(["adapters", "publish", str(folder), *more]) in (64, 65)
        assert "hub adapters import" in capsys.readouterr().err
    (folder / "training_args.bin").write_bytes(b"")
    assert run(["adapters", "publish", str(folder), "--name", "a"]) == 65
    assert "hub adapters import" in capsys.readouterr().err
