"""`hub train` as a process of its own, on the embedded base."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hub.cli import run

SMALL = ("--train", "400", "--dev", "40", "--test", "40", "--tokens", "512")


def test_ctrl_c_keeps_what_is_trained_and_says_where(tmp_path: Path) -> None:
    words = [
        *(sys.executable, "-m", "hub", "train", "--pair", "en-ko", "--budget", "0.01", *SMALL),
        *("--max-updates", "100000", "--eval-every", "100000"),
        *("--registry", str(tmp_path / "registry"), "--runs", str(tmp_path / "runs")),
    ]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("training …"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        assert process.wait() == 130, rest
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"the adapter trained so far is in {folder}" in rest
    assert "Traceback" not in rest
    kept = {file.name for file in (folder / "best").iterdir()}
    assert kept == {"adapter_config.json", "adapter_model.safetensors"}
    assert json.loads((folder / "summary.json").read_text())["ended"] == "interrupted"
    assert (folder / "state.safetensors").is_file()


@pytest.mark.parametrize("method", ["bottleneck", "lora"])
def test_embedded_base_end_to_end(tmp_path: Path, method: str) -> None:
    report = tmp_path / "report.json"
    code = run(
        [
            *("train", "--pair", "en-ko", "--method", method, "--budget", "0.01", *SMALL),
            *("--max-updates", "30", "--eval-every", "15", "--lr", "0.003", "--force"),
            *("--registry", str(tmp_path / "registry"), "--runs", str(tmp_path / "runs")),
            *("--json", str(report)),
        ]
    )
    assert code == 0
    facts = json.loads(report.read_text())
    assert facts["ref"] == f"en-ko.{method}:1"
    assert facts["updates"] == 30
    assert 0.009 < facts["realised_fraction"] <= 0.01
