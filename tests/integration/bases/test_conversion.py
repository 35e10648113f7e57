"""Conversions that are interrupted, killed, out of room, or made twice at once."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hub.bases import convert, open_base
from hub.errors import CorruptBaseError, SettingsError, StorageFullError
from hub.settings import load_settings

from ...support.published import published_model, published_state, write_bin

OPEN = "import sys; from hub.bases import open_base; print(open_base(sys.argv[1]).digest)"
KILLED = """
import os, signal, sys
from hub.bases import convert, open_base
save = convert._save
def saved_and_killed(tensors, file):
    save(tensors, file)
    os.kill(os.getpid(), signal.SIGKILL)
convert._save = saved_and_killed
open_base(sys.argv[1])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = published_model("m2m_100")
    return write_bin(tmp_path / "base", model, published_state(model, "m2m_100"))


def home() -> Path:
    return load_settings().cache / "bases"


def folders() -> list[Path]:
    return [path for path in home().iterdir() if path.is_dir()] if home().exists() else []


def child(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip


def digest_elsewhere(folder: Path, tmp_path: Path) -> str:
    """The digest of the same base, opened with another cache."""
    return open_base(str(folder), cache=tmp_path / "elsewhere").digest


def test_ctrl_c_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(convert, "_save", lambda tensors, file: _press(file))
        with pytest.raises(KeyboardInterrupt):
            open_base(str(folder))
    assert folders() == []
    assert open_base(str(folder)).digest == digest_elsewhere(folder, tmp_path)


def _press(file: Path) -> None:
    file.write_bytes(b"half")
    signal.raise_signal(signal.SIGINT)


def test_a_killed_conversion_is_never_opened_and_cleaned_up(folder: Path, tmp_path: Path):
    process = child(KILLED, folder)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    left = folders()
    assert [path.name.partition("-")[0] for path in left] == ["stage"]
    assert (left[0] / "model.safetensors").exists()
    base = open_base(str(folder))
    assert base.digest == digest_elsewhere(folder, tmp_path)
    assert folders() == [base.folder]


def test_what_a_killed_process_left_of_another_base_is_swept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    dead, alive = (home() / f"stage-{letter * 64}-x" for letter in "ab")
    for stage in (dead, alive):
        stage.mkdir(parents=True)
        (stage / "model.safetensors").write_bytes(b"half")
    lock = os.open(home() / f"{'b' * 64}.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    base = open_base(str(folder))
    os.close(lock)
    assert sorted(folders()) == sorted([alive, base.folder])


def test_a_checkpoint_that_changes_meanwhile_is_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    save = convert._save

    def saved_and_touched(tensors: dict[str, torch.Tensor], file: Path) -> None:
        save(tensors, file)
        os.utime(folder / "pytorch_model.bin", ns=(1, 1))

    with monkeypatch.context() as patch:
        patch.setattr(convert, "_save", saved_and_touched)
        with pytest.raises(CorruptBaseError, match="changed while it was converted"):
            open_base(str(folder))
    assert folders() == []
    assert open_base(str(folder)).digest == digest_elsewhere(folder, tmp_path)


@pytest.mark.parametrize("at", ["copyfile", "save_file", "fsync", "write_text"])
def test_a_full_disk_is_said_and_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = {
        "copyfile": "hub.bases.convert.shutil.copyfile",
        "save_file": "safetensors.torch.save_file",
        "fsync": "hub.bases.convert.os.fsync",
        "write_text": "pathlib.Path.write_text",
    }[at]
    with monkeypatch.context() as patch:
        patch.setattr(target, full)
        with pytest.raises(StorageFullError, match="set HUB_CACHE to a folder on another disk"):
            open_base(str(folder))
    assert folders() == []
    assert open_base(str(folder)).digest == digest_elsewhere(folder, tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except OSError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip("may not mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("spare", [convert._SPARE, -(2**30)])
def test_a_disk_that_is_really_full(
    folder: Path, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, spare: int
):
    """Found beforehand; and where room vanishes meanwhile, while the weights are written."""
    model = published_model("m2m_100", d_model=256, encoder_ffn_dim=512)
    folder = write_bin(tmp_path / "large", model, published_state(model, "m2m_100"))
    monkeypatch.setattr(convert, "_SPARE", spare)
    with pytest.raises(StorageFullError, match="no room to convert the base in"):
        open_base(str(folder), cache=small_disk)
    assert [path for path in (small_disk / "bases").iterdir() if path.is_dir()] == []
    assert open_base(str(folder)).family == "m2m_100"


def test_a_cache_that_cannot_be_written_names_the_setting(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    monkeypatch.setenv("HUB_CACHE", str(tmp_path / "file"))
    with pytest.raises(SettingsError, match="set HUB_CACHE to a folder that can be written"):
        open_base(str(folder))


def test_two_processes_convert_once(folder: Path, tmp_path: Path):
    both = [child(OPEN, folder), child(OPEN, folder)]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert {out.strip() for out, _ in told} == {digest_elsewhere(folder, tmp_path)}
    assert sum(f"converting {folder}: " in err for _, err in told) == 1
    assert len(folders()) == 1


def test_a_second_process_waits_and_says_so(folder: Path):
    made = open_base(str(folder)).folder
    lock = os.open(made.with_name(f"{made.name}.lock"), os.O_RDWR)
    (made / "converted.json").unlink()  # not complete: it must be made again
    fcntl.flock(lock, fcntl.LOCK_EX)
    process = child(OPEN, folder)
    assert process.stderr is not None
    assert "waiting for it" in process.stderr.readline()
    assert process.poll() is None
    os.close(lock)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.startswith("sha256:")
    assert "converting " in err


def test_shards_are_written_and_read_back(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = open_base(str(folder), cache=tmp_path / "whole")
    monkeypatch.setattr(convert, "_SHARD", 40_000)
    parts = open_base(str(folder), cache=tmp_path / "parts")
    assert len(parts.weights.files) > 2
    assert len(whole.weights.files) == 1
    assert parts.digest == whole.digest


def test_views_of_one_storage_become_tensors_of_their_own(folder: Path):
    path = folder / "pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    key, other = (f"model.encoder.layers.0.{name}.weight" for name in ("fc1", "fc2"))
    joined = torch.cat([state[key], state[other].t()])
    rows = len(state[key])
    state[key], state[other] = joined[:rows], joined[rows:].t()
    assert not state[other].is_contiguous()
    before = open_base(str(folder)).digest
    torch.save(state, path)
    assert open_base(str(folder)).digest == before
