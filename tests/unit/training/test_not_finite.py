"""Lines that spoil the loss are named by file and line, skipped and in the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from hub.bases import Base
from hub.cli import run
from training.loop.model import load_base_model

LONG = 17
"""The line of the file that is longer than all others."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [f"the house {i} is red\tdas Haus {i} ist rot\n" for i in range(40)]
    rows[LONG - 1] = "the house is " + "very " * 10 + "red\tdas Haus ist rot\n"
    path = tmp_path / "house.tsv"
    path.write_text("".join(rows))
    for name in ("dev", "test"):
        (tmp_path / f"{name}.tsv").write_text("a cat\teine Katze\nno dog\tkein Hund\n")
    return path


@pytest.fixture
def words(tiny_base: Base, data: Path, tmp_path: Path) -> list[str]:
    return [
        *("train", "--pair", "en-de", "--base", str(tiny_base.folder), "--budget", "1%"),
        *("--data", str(data), "--no-clean", "--dev", str(tmp_path / "dev.tsv")),
        *("--test", str(tmp_path / "test.tsv"), "--tokens", "256", "--precision", "float32"),
        *("--force", "--no-publish", "--runs", str(tmp_path / "runs")),
    ]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what makes every position of the source from here on NaN in the training model."""

    def spoil_from(position: int) -> None:
        def load(*args: Any, **kwargs: Any) -> Any:
            model: Any = load_base_model(*args, **kwargs)
            model.model.encoder.embed_positions.weights[position:] = float("nan")
            return model

        monkeypatch.setattr("training.loop.optimise.load_base_model", load)

    return spoil_from


def test_the_one_line_that_spoils_an_update_is_named_and_left_out(
    words: list[str],
    spoil: Callable[[int], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("training.pipeline._pass_gates", _no_gates)
    spoil(30)
    assert run([*words, "--max-updates", "8", "--eval-every", "8"]) == 0
    said = capsys.readouterr().err
    assert f"left out: loss or gradient not finite on house.tsv:{LONG}\n" in said
    (folder,) = (tmp_path / "runs").iterdir()
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    skips = [record for record in log if "skipped" in record]
    assert skips
    assert all(record["skipped"] == [f"house.tsv:{LONG}"] for record in skips)
    assert len(skips) < 4, "its own updates only"


def _no_gates(*args: Any) -> Any:
    """The spoilt model cannot be compared with the engine; that is not what is tested here."""
    from training.gates.equality import EqualityEvidence

    return EqualityEvidence(rows=0, tokens=0, ties=0)


def test_the_error_that_ends_a_run_names_file_and_lines_and_keeps_the_last_good(
    words: list[str],
    spoil: Callable[[int], None],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(3)
    assert run([*words, "--max-updates", "8", "--eval-every", "8"]) == 70
    said = capsys.readouterr().err
    assert "in 4 updates in a row, last at update 4 on house.tsv:" in said
    assert "Traceback" not in said
    named = said.rpartition("last at update 4 on ")[2].partition(";")[0]
    numbers = [int(word.partition(":")[2]) for word in named.replace(",", " ").split()[:5]]
    assert all(1 <= number <= 40 for number in numbers)
    (folder,) = (tmp_path / "runs").iterdir()
    assert str(folder / "last") in said
    tensors = load_file(folder / "last" / "adapter_model.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
