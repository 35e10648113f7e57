"""Several processes share the batches of an update and train what one would train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hub.bases import Base
from hub.errors import SettingsError
from training.loop.gradients import Gradients
from training.loop.loss import Layout
from training.loop.model import adapter_files, attach, load_base_model
from training.loop.processes import Alone, _buckets, launched_processes
from training.loop.trainer import Trainer
from training.methods.catalog import method
from training.recipe import Recipe


def test_alone_without_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", "1"):
        monkeypatch.setenv("WORLD_SIZE", text)
        with launched_processes() as processes:
            assert (processes.rank, processes.size, processes.is_main) == (0, 1, True)
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(SettingsError, match="WORLD_SIZE is 'two'"), launched_processes():
        pass
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for text in ("2", "0"):
        monkeypatch.setenv("WORLD_SIZE", text)
        with pytest.raises(SettingsError, match="RANK, MASTER_ADDR"), launched_processes():
            pass


def test_buckets_hold_every_tensor_in_order() -> None:
    tensors = [torch.empty(n, device="meta") for n in (3, 1 << 24, 5, 7, (1 << 24) + 1, 2)]
    buckets = list(_buckets(tensors))
    assert [[t.numel() for t in bucket] for bucket in buckets] == [
        [3], [1 << 24], [5, 7], [(1 << 24) + 1], [2],
    ]  # fmt: skip
    assert list(_buckets([])) == []


class Second(Alone):
    """The second of two processes, whose sums nobody else adds to."""

    rank = 1
    size = 2
    is_main = False


def test_processes_share_an_updates_batches(
    tiny_base: Base, make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe(accumulate=3)
    made: Any = Gradients(
        torch.nn.Linear(1, 1), {}, [], recipe,
        layout=Layout(1, 2, 1), processes=Second(), device="cpu",
    )  # fmt: skip
    from training.loop.batching import PlannedBatch, Position, Update

    batches = tuple(PlannedBatch(Position(0, n), (n,)) for n in range(3))
    assert made._own(Update(batches, Position(0, 3))) == batches[1:2]


def test_more_processes_than_batches_are_refused(
    tiny_base: Base, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(accumulate=1)
    model = attach(load_base_model(tiny_base, dropout=0.0), method("bottleneck"), recipe)
    asked: Any = {"run": None, "judge": None, "progress": None, "stop": None}
    with pytest.raises(SettingsError, match="give --accumulate 2 or a multiple") as caught:
        Trainer(
            model, [], recipe, layout=Layout(1, 2, 1), processes=Second(),
            snapshot=lambda: adapter_files(model, "tiny"), **asked,
        )  # fmt: skip
    assert caught.value.field == "accumulate"


def train(base: Base, root: Path, launcher: Sequence[str], *more: str) -> Any:
    root.mkdir(exist_ok=True)
    words = [
        *(sys.executable, "-m", *launcher, "hub", "train", "--pair", "en-de"),
        *("--base", str(base.folder), "--budget", "1%", "--train", "80", "--dev", "12"),
        *("--test", "12", "--max-updates", "6", "--eval-every", "3", "--tokens", "256"),
        *("--precision", "float32", "--force", "--dropout", "0.1", "--accumulate", "2"),
        *("--registry", str(root / "registry"), "--runs", str(root / "runs")),
        *("--json", str(root / "report.json"), *more),
    ]
    alone = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=alone)


def weights(root: Path) -> dict[str, torch.Tensor]:
    facts = json.loads((root / "report.json").read_text())
    tensors: dict[str, torch.Tensor] = load_file(
        Path(facts["folder"]) / "adapter_model.safetensors"
    )
    return tensors


TORCHRUN = ("torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m")


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tiny_base: Base, tmp_path: Path) -> None:
    done = train(tiny_base, tmp_path / "one", ())
    assert done.returncode == 0, done.stderr
    done = train(tiny_base, tmp_path / "two", TORCHRUN)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("update 6: dev chrF++") == 1, "one process alone scores and tells"
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-6)
    (folder,) = (tmp_path / "two" / "runs").iterdir()
    assert folder.name == next((tmp_path / "one" / "runs").iterdir()).name, "one recipe"
    done = train(tiny_base, tmp_path / "other", (), "--seed", "2")
    other = weights(tmp_path / "other")
    assert any(not torch.allclose(other[name], one[name], atol=1e-4) for name in one)
    done = train(tiny_base, tmp_path / "few", TORCHRUN, "--accumulate", "1")
    assert done.returncode != 0
    assert "give --accumulate 2 or a multiple" in done.stderr
