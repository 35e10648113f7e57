"""A base's identity follows from its content; damage and absence are named."""

from __future__ import annotations

import json
import shutil
from math import prod
from pathlib import Path

import pytest

from hub.bases import open_base
from hub.errors import BaseNotFoundError, CorruptBaseError


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    shutil.copytree(open_base().folder, folder)
    return folder


def test_the_embedded_base_counts_its_own_parameters():
    from safetensors import safe_open

    base = open_base()
    with safe_open(base.folder / "model.safetensors", "pt") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    assert base.family == "m2m_100"
    assert base.parameters == sum(prod(shape) for shape in shapes)


def test_the_embedded_base_fits_the_package():
    folder = open_base().folder
    assert sum(path.stat().st_size for path in folder.iterdir()) < 25_000_000


def test_a_copy_has_the_same_digest_and_a_changed_weight_another(copy: Path):
    assert open_base(str(copy)).digest == open_base().digest
    (copy / "base.json").unlink()  # a base from elsewhere, without a record to check against
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert open_base(str(copy)).digest != open_base().digest


def test_a_file_that_differs_from_the_record_is_named(copy: Path):
    record = json.loads((copy / "base.json").read_text(encoding="utf-8"))
    assert "model.safetensors" in record["files"]
    with (copy / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, 2)
        last = weights.read(1)[0]
        weights.seek(-1, 2)
        weights.write(bytes([last ^ 1]))
    with pytest.raises(CorruptBaseError, match=r"model\.safetensors has sha256"):
        _ = open_base(str(copy)).digest


def test_a_folder_without_weights_is_refused(copy: Path):
    (copy / "model.safetensors").unlink()
    with pytest.raises(CorruptBaseError, match="safetensors"):
        open_base(str(copy))


def test_a_damaged_config_is_refused(copy: Path):
    (copy / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CorruptBaseError, match=r"config\.json"):
        _ = open_base(str(copy)).config


@pytest.mark.parametrize("ref", ["nowhere", "./nowhere/at-all", "", "a/b/c"])
def test_a_base_that_is_not_there_is_named(ref: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BaseNotFoundError):
        open_base(ref)
