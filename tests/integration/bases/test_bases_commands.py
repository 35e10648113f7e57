"""`hub bases pull`, `list` and `show`, as a user runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hub.bases import open_base
from hub.cli import run

from ...support.hub_server import StandInHub
from ...support.published import edit_config, published_model, published_state, write_bin

ID = "facebook/nllb-200-tiny"
CARD = "---\nlanguage:\n- en\nlicense: cc-by-nc-4.0\n---\n# tiny\n"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny M2M-100 as a .bin, with the embedded base's tokenizer."""
    vocabulary = open_base().config["vocab_size"]
    model = published_model("m2m_100", vocab_size=vocabulary)
    folder = write_bin(tmp_path / "tiny", model, published_state(model, "m2m_100"))
    for name in ("vocab.json", "sentencepiece.bpe.model", "tokenizer_config.json"):
        shutil.copy(open_base().folder / name, folder / name)
    (folder / "base.json").write_text('{"languages": ["en", "de", "ko"]}', encoding="utf-8")
    return folder


def publish(hub: StandInHub, folder: Path, **more: bytes) -> str:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return hub.repository(ID).commit(files | {"README.md": CARD.encode()} | more)


def table(text: str) -> dict[str, str]:
    rows = [line.split("\t") for line in text.splitlines()]
    return {row[0]: row[1] for row in rows if len(row) == 2}


def test_pull_list_and_show(
    hugging_face: StandInHub, checkpoint: Path, capsys: pytest.CaptureFixture[str]
):
    commit = publish(hugging_face, checkpoint)
    assert run(["bases", "pull", ID]) == 0
    told = capsys.readouterr()
    assert f"downloading {ID}" in told.err
    assert f"converting {ID}: " in told.err
    facts = table(told.out)
    base = open_base(ID)
    assert facts["digest"] == base.digest
    assert facts["commit"] == commit
    assert facts["parameters"] == f"{base.parameters:,}"
    assert facts["languages"] == "3: de en ko"
    assert facts["licence"] == "cc-by-nc-4.0: no commercial use of the base or its adapters"

    assert run(["bases", "list", "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)
    assert [(each["base"], each["kind"]) for each in kept] == [
        ("embedded", "embedded"),
        (ID, "converted"),
        (ID, "fetched"),
    ]
    assert {each["folder"] for each in kept} >= {str(base.folder)}

    assert run(["bases", "show", ID, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["digest"] == base.digest
    assert shown["licence"] == "cc-by-nc-4.0"
    assert shown["weights"] == {"F32": 4 * base.parameters}
    assert shown["files"] == {
        "model.safetensors": (base.folder / "model.safetensors").stat().st_size
    }
    assert shown["converted from"].endswith(commit)
    assert open_base(str(checkpoint)).digest == base.digest


def test_a_pinned_revision_is_listed_by_it(
    hugging_face: StandInHub, checkpoint: Path, capsys: pytest.CaptureFixture[str]
):
    first = publish(hugging_face, checkpoint)
    assert run(["bases", "pull", f"{ID}@{first}"]) == 0
    capsys.readouterr()
    assert run(["bases", "list", "--json"]) == 0
    kept = {each["base"] for each in json.loads(capsys.readouterr().out)}
    assert kept == {"embedded", f"{ID}@{first}"}


def test_list_without_any_cache(capsys: pytest.CaptureFixture[str], hugging_face: StandInHub):
    assert run(["bases", "list"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2
    assert rows[1].startswith("embedded\tembedded\tm2m_100\t")


def test_a_base_whose_languages_are_not_known_is_shown_with_the_reason(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
):
    (checkpoint / "vocab.json").unlink()
    assert run(["bases", "show", str(checkpoint)]) == 0
    facts = table(capsys.readouterr().out)
    assert "has no tokenizer" in facts["no languages"]
    assert facts["licence"] == "not stated"


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0"),
        ('---\nlicense: "mit" # of the weights\n---\n', "mit"),
        ("---\nlicense:\n- cc-by-4.0\n- mit\nlanguage: en\n---\n", "cc-by-4.0, mit"),
        ("---\nlicense: [cc-by-4.0, mit]\n---\n", "cc-by-4.0, mit"),
        ("---\nlicense: other\nlicense_name: my-licence\n---\n", "my-licence"),
        ("---\nlicense: other\nlicense_link: https://example.org\n---\n", "https://example.org"),
        ("---\nlicense: other\n---\n", "other"),
        ("# no front matter\nlicense: mit\n", ""),
        ("---\nlanguage: en\n---\nlicense: mit\n", ""),
    ],
)
def test_the_licence_of_a_card(checkpoint: Path, card: str, licence: str):
    (checkpoint / "README.md").write_text(card, encoding="utf-8")
    assert open_base(str(checkpoint)).licence == licence


def test_the_licence_of_a_known_checkpoint_without_its_card(checkpoint: Path):
    edit_config(checkpoint, {"_name_or_path": "facebook/nllb-200-distilled-600M"})
    assert open_base(str(checkpoint)).licence == "CC-BY-NC-4.0"


@pytest.mark.parametrize("ref", ["nowhere/at/all", "org/.."])
def test_a_bad_ref_is_one_line(ref: str, capsys: pytest.CaptureFixture[str]):
    assert run(["bases", "pull", ref]) == 66
    told = capsys.readouterr().err
    assert told.startswith("error: base ")
    assert len(told.splitlines()) == 1
