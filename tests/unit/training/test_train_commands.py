"""The command line: words become a request, mistakes become exit codes, results become a table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hub.bases import Base
from hub.cli import run


@pytest.fixture
def words(tiny_base: Base, tmp_path: Path) -> list[str]:
    """A training that takes a second."""
    return [
        *("train", "--pair", "en-de", "--base", str(tiny_base.folder)),
        *("--train", "80", "--dev", "12", "--test", "12", "--max-updates", "4"),
        *("--eval-every", "2", "--tokens", "256", "--precision", "float32", "--force"),
        *("--registry", str(tmp_path / "registry"), "--runs", str(tmp_path / "runs")),
    ]


def test_trains_and_evaluates(
    words: list[str], tiny_base: Base, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    assert run([*words, "--budget", "1%", "--alias", "prod", "--json", str(report)]) == 0
    printed = capsys.readouterr()
    facts: dict[str, Any] = json.loads(report.read_text())
    assert facts["ref"] == "en-de.bottleneck:1"
    assert 0 < facts["realised_fraction"] <= facts["budget"] == 0.01
    assert facts["width"] > 0
    for name in ("chrf_base", "chrf_adapter", "bleu_base", "exact_base", "exact_adapter"):
        assert name in facts
    assert facts["ref"] in printed.out
    assert "chrf++" in printed.out
    assert "hub translate --pair en-de" in printed.err
    assert facts["digest"] in printed.err

    score = ["eval", "en-de.bottleneck@prod", "--base", str(tiny_base.folder), "--json", "-"]
    assert run([*score, "--registry", str(tmp_path / "registry")]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["recorded"]["chrf_adapter"] == facts["chrf_adapter"] == again["chrf_adapter"]


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        (["--pair", "en-en", "--budget", "0.01"], 64, "source and target are both 'en'"),
        (["--pair", "xx-yy", "--budget", "0.01"], 64, "unknown language 'xx'"),
        (["--budget", "zero"], 64, "not a number"),
        (["--budget", "0"], 64, "above 0"),
        (["--budget", "nan"], 64, "finite"),
        (["--budget", "0.000001"], 64, "needs at least"),
        (["--width", "4", "--method", "lora"], 64, "--width does not go with"),
        (["--rank", "4"], 64, "--rank does not go with"),
        (["--width", "4", "--budget", "0.1"], 64, "not both"),
        ([], 64, "not neither"),
        (["--budget", "0.1", "--method", "magic"], 64, "known are"),
        (["--budget", "0.1", "--lr", "-1"], 64, "--lr is -1"),
        (["--budget", "0.1", "--data", "none"], 66, "none"),
        (["--budget", "0.1", "--json", "."], 64, "--json . is a folder"),
        (["--budget", "0.1", "--json", "none/x.json"], 64, "there is no folder none"),
        (["--budget", "0.1", "--dev", "dev.tsv"], 65, "--dev FILE goes with --data FILE"),
        (["--budget", "0.1", "--base", "no/such/base/here"], 66, "no/such/base/here"),
    ],
)
def test_mistakes_have_exit_codes(
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    changes: list[str],
    code: int,
    said: str,
) -> None:
    assert run([*words, *changes]) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_unknown_adapter_to_evaluate(tmp_path: Path) -> None:
    nobody = ["eval", "nobody", "--registry", str(tmp_path / "registry")]
    assert run(nobody) == 66
    assert run([*nobody, "--json", str(tmp_path / "none" / "x.json")]) == 64
    assert run([*nobody, "--comet-timeout", "5"]) == 64


def test_commands_import_nothing_heavy() -> None:
    program = (
        "import sys, typer, training.commands as c; app = typer.Typer(); c.register(app);"
        "heavy = {'torch', 'transformers', 'peft', 'babel', 'sqlalchemy', 'sacrebleu'};"
        "print(heavy & sys.modules.keys()); sys.exit(bool(heavy & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
