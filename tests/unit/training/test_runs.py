"""Run folders: files are replaced whole, and what goes wrong says what to do."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.errors import SettingsError, StorageFullError
from training.recipe import Recipe
from training.runs import PART, RunFolder


@pytest.fixture
def run(make_recipe: Callable[..., Recipe], tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "runs", make_recipe())


def test_folder_is_named_by_the_recipe_and_holds_it(
    run: RunFolder, make_recipe: Callable[..., Recipe]
) -> None:
    assert run.path.name == make_recipe().run_name
    assert Recipe.from_json((run.path / "recipe.json").read_text()) == make_recipe()


def test_a_runs_folder_that_is_a_file(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(SettingsError, match="choose another with --runs") as caught:
        RunFolder.create(tmp_path / "runs", make_recipe())
    assert caught.value.field == "runs"
    assert str(tmp_path / "runs") in caught.value.message


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_file(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    run.write("best/weights", b"old")

    def full(handle: int) -> None:
        raise OSError(code, "full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageFullError, match="no room left"):
        run.write("best/weights", b"new")
    assert (run.best / "weights").read_bytes() == b"old"
    assert [file.name for file in run.best.iterdir()] == ["weights"]


def test_start_over_keeps_only_the_recipe(run: RunFolder) -> None:
    run.save_adapter("best", {"a.safetensors": b"1", "b.json": b"2"})
    run.save_adapter("last", {"a.safetensors": b"1"})
    run.write("state.safetensors", b"3")
    run.log({"step": 1})
    assert run.unfinished
    run.start_over()
    assert sorted(file.name for file in run.path.iterdir()) == ["lock", "recipe.json"]
    assert not run.unfinished


def test_what_a_kill_left_half_written_is_removed(
    run: RunFolder, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    run.save_adapter("best", {"a.safetensors": b"1"})
    for folder in (run.path, run.best):
        (folder / f"{PART}a.safetensors.x1").write_bytes(b"half")
    RunFolder.create(tmp_path / "runs", make_recipe())
    assert [file.name for file in run.best.iterdir()] == ["a.safetensors"]
    assert sorted(file.name for file in run.path.iterdir()) == ["best", "lock", "recipe.json"]


HOLD = """
import sys
from pathlib import Path
from training.recipe import Recipe
from training.runs import PART, RunFolder
run = RunFolder.create(Path(sys.argv[1]), Recipe.from_json(sys.stdin.readline()))
print("held", flush=True)
sys.stdin.read()
"""


def test_two_processes_do_not_train_in_one_folder(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe()
    line = json.dumps(json.loads(recipe.to_json())) + "\n"
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(line)
        other.stdin.flush()
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SettingsError, match=f"training in {tmp_path}.*--runs") as caught:
            RunFolder.create(tmp_path, recipe)
        assert caught.value.field == "runs"
        RunFolder.create(tmp_path, make_recipe(seed=9))  # another recipe has a folder of its own
        other.kill()
    RunFolder.create(tmp_path, recipe)
