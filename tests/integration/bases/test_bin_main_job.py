"""The main job on a base as the Hub has it, by id: pull, train, publish, serve, translate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hub.bases import open_base
from hub.cli import run
from hub.client import Decoding, HubClient
from hub.settings import load_settings
from server.application import running

from ...support.hub_server import StandInHub

ID = "org/embedded-as-bin"
CARD = b"---\nlicense: cc-by-nc-4.0\n---\n# The embedded base\n"
QUICK = (
    "--max-updates 5 --eval-every 5 --train 200 --dev 8 --test 12 --force "
    "--lr 0.05 --warmup 1 --schedule constant"
)
TEXTS = ["Friday, October 3, 2008", "in 12 days"]


def embedded_as_published() -> dict[str, bytes]:
    """The embedded base's files, its weights as `pytorch_model.bin` with every copy."""
    folder = open_base().folder
    state = load_file(folder / "model.safetensors")
    table = state["model.shared.weight"]
    for name in ("lm_head", "model.encoder.embed_tokens", "model.decoder.embed_tokens"):
        state[f"{name}.weight"] = table
    names = ("config.json", "generation_config.json", "vocab.json", "sentencepiece.bpe.model")
    files = {name: (folder / name).read_bytes() for name in (*names, "tokenizer_config.json")}
    record = json.loads((folder / "base.json").read_text(encoding="utf-8"))
    files["base.json"] = json.dumps({"languages": record["languages"]}).encode()
    return files | {"pytorch_model.bin": _pickled(state), "README.md": CARD}


def _pickled(state: dict[str, torch.Tensor]) -> bytes:
    import io

    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def translations(base: str, registry: Path, *adapters: str) -> list[list[str]]:
    flags = {
        "base": base, "registry": str(registry), "port": 0, "metrics_port": 0, "threads": 1,
    }  # fmt: skip
    with (
        running(load_settings(flags)) as application,
        HubClient(application.ports.grpc, timeout=60) as client,
    ):
        short = Decoding(max_output_tokens=12)
        replies = [
            client.translate(TEXTS, "en", "ko", adapter=adapter, decoding=short)
            for adapter in adapters
        ]
        return [[item.text for item in reply.items] for reply in replies]


def test_pull_train_publish_serve_translate(
    hugging_face: StandInHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    hugging_face.repository(ID).commit(embedded_as_published())
    registry = tmp_path / "registry"
    assert run(["bases", "pull", ID]) == 0
    assert open_base(ID).digest == open_base().digest
    where = ["--registry", str(registry), "--runs", str(tmp_path / "runs")]
    words = ["train", "--pair", "en-ko", "--budget", "0.01", "--base", ID, "--method", "lora"]
    capsys.readouterr()
    assert run([*words, *QUICK.split(), *where]) == 0
    told = capsys.readouterr().err
    assert "base licence: cc-by-nc-4.0: no commercial use of the base or its adapters" in told
    assert run(["adapters", "show", "en-ko.lora", "--registry", str(registry)]) == 0
    shown = capsys.readouterr().out
    assert f"base\t{ID} {open_base().digest}" in shown
    assert "base licence\tcc-by-nc-4.0: no commercial use" in shown
    plain, adapted = translations(ID, registry, "", "en-ko.lora")
    assert [plain, adapted] == translations("embedded", registry, "", "en-ko.lora")
    assert all(plain)
    assert adapted != plain
