"""Trackers hear the numbers of a run, disturb nothing, and are asked for by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hub.bases import Base
from hub.cli import run
from hub.errors import SettingsError
from training.loop import trackers
from training.loop.progress import Silent, UpdateReport
from training.loop.trackers import Tracked, TrackedRun, parse_tracker
from training.recipe import Recipe


class Notebook:
    """A tracker that remembers."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.heard: list[Any] = []
        self._fails_at = fails_at

    def start(self, run: TrackedRun) -> None:
        self.heard.append(run.name)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step == self._fails_at:
            raise ConnectionError("no route to host")
        print("chatter")
        self.heard.append((step, dict(values)))

    def finish(self, *, well: bool) -> None:
        self.heard.append(well)


def report(step: int) -> UpdateReport:
    return UpdateReport(step, 25, 2.0 + step, 0.1, 100.0, None)


def test_numbers_go_to_every_tracker_and_one_that_fails_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = Notebook(), Notebook(fails_at=10)
    tracking = Tracked(Silent(), [bad, good])
    tracking.start(TrackedRun("en-de.lora.0", tmp_path, "{}"))
    for step in range(1, 26):
        tracking.updated(report(step))
    tracking.evaluated(25, 41.5, best=True)
    tracking.scored(25, {"chrf_adapter": 40.0})
    tracking.finish(well=True)
    name, *numbers, well = good.heard
    assert (name, well) == ("en-de.lora.0", True)
    assert [step for step, values in numbers if "train/loss" in values] == [1, 10, 20, 25]
    assert numbers[1][1]["train/loss"] == 12.0
    assert numbers[-2:] == [(25, {"dev/chrfpp": 41.5}), (25, {"test/chrf_adapter": 40.0})]
    assert [entry[0] for entry in bad.heard[1:]] == [1]
    printed = capsys.readouterr()
    assert printed.out == "", "standard output is for results"
    assert printed.err.count("Notebook failed and is left out: no route to host") == 1


def test_a_run_that_only_had_to_be_scored_keeps_what_was_logged(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for updates in (range(1, 5), ()):  # the second process finds training done
        tracking = Tracked(Silent(), [parse_tracker("tensorboard")])
        tracking.start(TrackedRun("en-de.lora.0", tmp_path, "{}"))
        for step in updates:
            tracking.evaluated(step, 40.0, best=True)
        if not updates:
            tracking.scored(4, {"chrf_adapter": 41.0})
        tracking.finish(well=bool(not updates))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {1, 2, 3} <= {event.step for event in events.Scalars("dev/chrfpp")}
    assert [event.step for event in events.Scalars("test/chrf_adapter")] == [4]


def test_settings_are_flat(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    run = TrackedRun("name", tmp_path, make_recipe().to_json())
    settings = run.settings()
    assert settings["options.norm"] is True
    assert settings["learning_rate"] == 0.01
    assert settings["budget"] == ""
    assert all(isinstance(value, str | int | float | bool) for value in settings.values())


def test_unknown_and_missing_trackers_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="known are tensorboard, wandb, mlflow"):
        parse_tracker("notebook:x")
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    for name in ("tensorboard", "wandb", "mlflow"):
        with pytest.raises(SettingsError, match=rf"pip install 'adapterhub\[{name}\]'"):
            parse_tracker(name)
    monkeypatch.undo()
    (tmp_path / "wandb").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    spec = trackers.find_spec("wandb")
    if spec is not None and spec.origin is None:
        with pytest.raises(SettingsError, match="not installed"):
            parse_tracker("wandb")


def test_a_missing_package_is_found_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    words = ["train", "--pair", "en-de", "--budget", "1%", "--runs", str(tmp_path / "runs")]
    assert run([*words, "--track", "wandb:mine"]) == 64
    assert "adapterhub[wandb]" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("where", ["", "events"])
def test_tensorboard_files_hold_what_was_trained(
    tiny_base: Base, tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    place = f":{tmp_path / where}" if where else ""
    words = [
        *("train", "--pair", "en-de", "--base", str(tiny_base.folder), "--budget", "1%"),
        *("--train", "80", "--dev", "12", "--test", "12", "--max-updates", "4"),
        *("--eval-every", "2", "--tokens", "256", "--precision", "float32", "--no-publish"),
        *("--runs", str(tmp_path / "runs"), "--track", f"tensorboard{place}", "--json", "-"),
    ]
    assert run(words) == 0
    facts = json.loads(capsys.readouterr().out)
    (folder,) = (tmp_path / "runs").iterdir()
    events = EventAccumulator(
        str(tmp_path / where / folder.name) if where else str(folder / "tensorboard")
    )
    events.Reload()
    looks = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    wanted = [(r["step"], r["dev_chrf++"]) for r in looks if "dev_chrf++" in r]
    found = [(event.step, event.value) for event in events.Scalars("dev/chrfpp")]
    assert [step for step, _ in found] == [2, 4]
    assert [value for _, value in found] == pytest.approx([v for _, v in wanted], abs=1e-3)
    assert [event.step for event in events.Scalars("train/loss")] == [1, 4]
    (score,) = events.Scalars("test/chrf_adapter")
    assert score.value == pytest.approx(facts["chrf_adapter"], rel=1e-5)
