"""A whole study on the embedded base: planned, killed, finished, reported, asked for advice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hub.errors import SettingsError
from training.study.cells import resolve
from training.study.file import StudyFile, load_study, parse_study
from training.study.ledger import Ledger
from training.study.run import RunOptions, run_study

SMOKE = "studies/smoke.yaml"


@pytest.fixture
def smoke(repository: Path) -> StudyFile:
    return load_study(repository / SMOKE)


def test_cells_are_named_by_their_recipes(smoke: StudyFile) -> None:
    from training.recipe import Recipe

    cells = resolve(smoke)
    trained = [cell for cell in cells if cell.recipe]
    assert len(trained) == 4
    for cell in trained:
        recipe = Recipe.from_json(cell.recipe)
        assert recipe.digest == cell.name
        assert recipe.train == 200
    assert len({cell.test for cell in cells}) == 2  # one test set for each pair


def test_every_size_of_a_pair_has_the_same_test_items_and_holds_the_smaller_ones() -> None:
    from training.study.materials import corpus_spec, sized_corpus

    made = parse_study(
        {
            "study": "sizes",
            "bases": {"embedded": {"base": "embedded"}},
            "pairs": ["en-de"],
            "methods": ["bottleneck"],
            "budgets": [0.01],
            "train": [20, 50],
            "seeds": [1],
            "corpus": {"dev": 5, "test": 5},
            "claims": {"budget": 0.01},
        }
    )
    spec = corpus_spec(made, "en-de")
    small, large = sized_corpus(spec, 20), sized_corpus(spec, 50)
    assert small.test == large.test
    assert small.train == large.train[:20]
    assert small.fingerprint != large.fingerprint


def test_the_papers_bases_are_planned_without_weights_or_network(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def unplugged(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", unplugged)
    cells = resolve(load_study(repository / "studies/paper.yaml"))
    assert all(cell.reason for cell in cells)
    by = {(c.point.base, c.point.method, c.point.budget): c for c in cells}
    # Totals and widths as counted on instantiated models (see tests/integration's formulas).
    assert by["m2m100-418m", "full", None].trainable == 483_905_536
    assert by["mbart-50", "full", None].trainable == 610_879_488
    assert by["nllb-600m", "full", None].trainable == 615_073_792
    assert by["m2m100-418m", "bottleneck", 0.1].size == 982
    assert "hub bases pull facebook/m2m100_418M" in by["m2m100-418m", "full", None].reason
    assert "budget 0.001 allows" in by["m2m100-418m", "lora", 0.001].reason


def test_a_study_without_any_base_is_refused(smoke: StudyFile, tmp_path: Path) -> None:
    gone = smoke.model_copy(
        update={
            "bases": {"embedded": smoke.bases["embedded"].model_copy(update={"base": "no/base"})}
        }
    )
    with pytest.raises(SettingsError, match=r"no cell .* can be run here: base 'no/base'"):
        run_study(gone, RunOptions(tmp_path))


def hub(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hub", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_killed_study_goes_on_and_is_reported(repository: Path, tmp_path: Path) -> None:
    file = str(repository / SMOKE)
    folder = tmp_path / "smoke"
    words = ["study", "run", file, "--folder", str(folder)]
    with subprocess.Popen(
        [sys.executable, "-m", "hub", *words], stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith("[2/6]"):
                break
        running.send_signal(signal.SIGKILL)
    before = {e.cell.name: e.facts for e in Ledger(folder).entries() if e.state == "done"}
    assert 2 <= len(before) < 6
    assert hub(*words, folder=tmp_path).returncode == 0
    after = Ledger(folder).entries()
    assert {entry.state for entry in after} == {"done"}
    for entry in after:
        if entry.cell.name in before:
            assert (entry.attempts, entry.facts) == (1, before[entry.cell.name])
    assert not list((folder / "runs").iterdir())


@pytest.mark.slow
def test_a_finished_study_is_reported_and_gives_no_advice_beyond_it(
    smoke: StudyFile, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from hub.cli import run

    folder, data = tmp_path / "smoke", tmp_path / "corpus.tsv"
    assert run_study(smoke, RunOptions(folder))["done"] == 6
    assert run(["study", "report", str(repository / SMOKE), "--folder", str(folder)]) == 0
    assert "undecided" in capsys.readouterr().out  # one seed decides nothing
    assert "Said before the run: margin 1 chrF++" in (folder / "report.md").read_text()
    ledger = Ledger(folder)
    trained = [entry.facts for entry in ledger.entries() if entry.cell.recipe]
    assert all(len(facts["novelty"]["of_item"]) == facts["items"] for facts in trained)
    assert all(len(facts["item_names"]) == facts["items"] for facts in trained)
    assert any(share < 1 for facts in trained for share in facts["novelty"]["of_item"])
    for name in ("report.html", "report.md", "cells.csv"):
        assert (folder / name).stat().st_size > 100
    data.write_text("".join(f"{n} hours ago\tvor {n} Stunden\n" for n in range(2, 400)))
    asked = ["--pair", "en-de", "--data", str(data), "--studies", str(folder), "--json", "-"]
    assert run(["advise", *asked]) == 0
    advice = json.loads(capsys.readouterr().out)
    assert advice["answer"] is None
    assert "its cells are of CLDR's phrases, not of files" in advice["unknown"][0]
    asked = ["--pair", "en-de", "--studies", str(folder), "--json", "-"]
    assert run(["advise", *asked]) == 0
    assert "too few pairs" in json.loads(capsys.readouterr().out)["unknown"][0]


@pytest.mark.slow
def test_ray_runs_two_cells_at_a_time_to_the_same_scores(smoke: StudyFile, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    small = smoke.model_copy(
        update={"execution": smoke.execution.model_copy(update={"workers": 2})}
    )
    one = run_study(smoke, RunOptions(tmp_path / "alone", limit=3))
    two = run_study(small, RunOptions(tmp_path / "ray", ray="local", limit=3))
    assert one["done"] == two["done"] == 3

    def scores(folder: Path) -> dict[str, object]:
        entries = Ledger(folder).entries()
        return {e.cell.name: e.facts["scores"] for e in entries if e.state == "done"}

    assert scores(tmp_path / "alone") == scores(tmp_path / "ray")
