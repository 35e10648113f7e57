"""Training on one's own files: the data is named by content in recipe, manifest and card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hub.bases import Base
from hub.cli import run
from hub.manifest import AdapterManifest


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "house.tsv"
    rows = [f"the house {i} is red\tdas Haus {i} ist rot\n" for i in range(300)]
    path.write_text("".join([*rows, "same\tsame\n"]))
    return path


@pytest.fixture
def words(tiny_base: Base, tmp_path: Path) -> list[str]:
    return [
        *("train", "--pair", "en-de", "--base", str(tiny_base.folder), "--budget", "1%"),
        *("--max-updates", "2", "--eval-every", "2", "--tokens", "256"),
        *("--precision", "float32", "--force", "--licence", "CC0-1.0"),
        *("--registry", str(tmp_path / "registry"), "--runs", str(tmp_path / "runs")),
    ]


def test_trains_on_a_file_and_evaluates_on_its_test_set(
    words: list[str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    assert run([*words, "--data", f"2@{data}", "--json", str(report)]) == 0
    assert "identical 1" in capsys.readouterr().err
    facts: dict[str, Any] = json.loads(report.read_text())
    assert facts["data"]["removed"] == {"identical": 1}
    folder = Path(facts["folder"])
    manifest = AdapterManifest.from_json((folder / "hub.json").read_bytes())
    assert manifest.corpus.licence == "CC0-1.0"
    assert manifest.corpus.sources[0].weight == 2
    assert manifest.corpus.cleaning is not None
    assert manifest.corpus.cleaning.removed == {"identical": 1}
    assert AdapterManifest.from_json(manifest.to_json()) == manifest
    recipe = json.loads((folder.parent / "recipe.json").read_text())
    assert recipe["corpus_fingerprint"] == manifest.corpus.fingerprint
    card = (folder / "README.md").read_text()
    assert "| identical | 1 |" in card
    assert str(tmp_path) not in card + manifest.to_json()

    again = ["eval", facts["ref"], "--base", words[4], "--registry", str(tmp_path / "registry")]
    assert run(again) == 65
    assert "give them again with --data" in capsys.readouterr().err
    assert run([*again, "--data", str(data), "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same_test_as_published"]
    assert found["recorded"]["chrf_adapter"] == found["chrf_adapter"]
    data.write_text(data.read_text().replace("red", "green"))
    assert run([*again, "--data", str(data)]) == 65
    other = tmp_path / "other.tsv"
    other.write_text("a house\tein Haus\n")
    assert run([*again, "--test", str(other), "--data", str(data)]) == 65
    assert "give one of them" in capsys.readouterr().err
    assert run([*again, "--test", str(other), "--json", "-"]) == 0
    assert not json.loads(capsys.readouterr().out)["same_test_as_published"]


def test_the_run_is_named_by_content_not_by_path(
    words: list[str], data: Path, tmp_path: Path
) -> None:
    def runs() -> int:
        return len(list((tmp_path / "runs").iterdir()))

    assert run([*words, "--data", str(data), "--no-publish"]) == 0
    moved = data.rename(tmp_path / "moved.tsv")
    assert run([*words, "--data", str(moved), "--no-publish"]) == 0
    assert runs() == 1
    moved.write_text(moved.read_text() + "one more\teins mehr\n")
    assert run([*words, "--data", str(moved), "--no-publish"]) == 0
    assert runs() == 2


def test_check_reports_without_training(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["corpus", "check", "--pair", "en-de", "--data", str(data)]) == 0
    printed = capsys.readouterr()
    assert "identical\t1\t0.33 %\thouse.tsv:301: same ||| same" in printed.out
    assert "fingerprint sha256:" in printed.err
    assert run(["corpus", "check", "--pair", "en-de", "--data", str(data), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == {"identical": 1}
    assert run(["corpus", "check", "--pair", "en-de", "--data", "none.tsv"]) == 66
    assert run(["corpus", "check", "--pair", "en-de", "--data", "cldr"]) == 65
    for command in ("formats", "filters"):
        assert run(["corpus", command]) == 0
