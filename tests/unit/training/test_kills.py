"""kill -9 anywhere, the same command again, and the adapter is the same to the last byte.

The runs are children of one process that has imported everything, so that each costs a second or
two. A child is armed to kill itself at the n-th time that something happens: a call of ours, or a
file operation that the interpreter reports to audit hooks, which lands before it takes effect.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from hub.bases import Base

DRIVER = """
import importlib, json, os, signal, sys

import hub.engine.engine, hub.registry, peft, sacrebleu.metrics, torch, transformers
import training.corpora.cldr, training.gates.checks, training.pipeline, training.loop.trainer
from hub.cli import run

def die_at(count):
    left = [count]
    def happened():
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    return happened

def arm(kill):
    happened = die_at(kill["count"])
    if kill["call"]:
        module, owner, name = kill["call"].split(":")
        owner = getattr(importlib.import_module(module), owner)
        original = getattr(owner, name)
        def wrapped(*args, **kwargs):
            happened()
            return original(*args, **kwargs)
        setattr(owner, name, wrapped)
        return
    def hook(event, args):
        if event == kill["event"] and any(kill["path"] in str(arg) for arg in args[:2]):
            happened()
    sys.addaudithook(hook)

def child(words, kill, out):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for stream in (1, 2):
        os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    if kill:
        arm(kill)
    os._exit(run(words))

for line in sys.stdin:
    job = json.loads(line)
    print(child(job["words"], job["kill"], job["out"]), flush=True)
"""


@dataclass(frozen=True)
class Kill:
    """When a run dies.

    Attributes:
        what: What it is doing then.
        call: `module:class:method` whose n-th call kills, "" for a file operation.
        event: The audit event of the file operation, and a part of the `path` that it is on.
        count: n, from 1.
    """

    what: str
    call: str = ""
    event: str = ""
    path: str = ""
    count: int = 1


UPDATE = "training.loop.trainer:Trainer:_update"
KILLS = (
    Kill("before the first checkpoint", call=UPDATE, count=3),
    Kill("between two checkpoints", call=UPDATE, count=6),
    Kill("writing the adapter for the first look", event="os.rename", path="last/adapter_model"),
    Kill("scoring the dev set", call="training.evidence.decode:Decoder:translate", count=2),
    Kill("replacing the best, the old weights there", event="os.rename", path="best/adapter_m"),
    Kill("writing a state", event="os.rename", path="/state.safetensors", count=2),
    Kill("after a state, before its line in the log", call="training.runs:RunFolder:log", count=2),
    Kill("in the gates", call="training.evidence.decode:Decoder:decode", count=4),
    Kill("publishing", event="os.rename", path="registry/", count=1),
    Kill("published, the state not yet forgotten", event="os.remove", path="/state.safetensors"),
)  # fmt: skip


class Runs:
    """Starts trainings in one folder, as children of the driver."""

    def __init__(self, driver: subprocess.Popen[str], base: Base, root: Path) -> None:
        self._driver = driver
        self._base = base
        self._root = root

    def run(self, where: str, kill: Kill | None = None, seed: int = 1) -> int:
        root = self._root / where
        root.mkdir(exist_ok=True)
        words = [
            *("train", "--pair", "en-de", "--base", str(self._base.folder), "--budget", "1%"),
            *("--train", "80", "--dev", "12", "--test", "12", "--max-updates", "8"),
            *("--eval-every", "3", "--tokens", "256", "--precision", "float32", "--force"),
            *("--dropout", "0.1", "--accumulate", "2", "--seed", str(seed)),
            *("--registry", str(root / "registry"), "--runs", str(root / "runs")),
            *("--json", str(root / "report.json")),
        ]
        job = {"words": words, "kill": kill and asdict(kill), "out": str(root / "output")}
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.write(json.dumps(job) + "\n")
        self._driver.stdin.flush()
        return int(self._driver.stdout.readline())

    def made(self, where: str) -> tuple[str, bytes]:
        """Return the published digest and the weights."""
        facts = json.loads((self._root / where / "report.json").read_text())
        weights = Path(facts["folder"]) / "adapter_model.safetensors"
        return facts["digest"], weights.read_bytes()

    def said(self, where: str) -> str:
        return (self._root / where / "output").read_text()


@pytest.mark.slow
def test_ten_kills_end_in_the_digest_of_the_uninterrupted_run(
    tiny_base: Base, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", DRIVER]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=alone
    ) as driver:
        runs = Runs(driver, tiny_base, tmp_path)
        assert runs.run("whole") == 0, runs.said("whole")
        assert runs.run("other", seed=2) == 0
        wanted = runs.made("whole")
        assert wanted != runs.made("other"), "digests tell runs apart"
        for number, kill in enumerate(KILLS):
            where = f"kill{number}"
            assert runs.run(where, kill) == -signal.SIGKILL, (kill.what, runs.said(where))
            assert not (tmp_path / where / "report.json").exists(), kill.what
            assert runs.run(where) == 0, (kill.what, runs.said(where))
            assert runs.made(where) == wanted, kill.what
        again = "kill after kill"
        for kill in KILLS:
            code = runs.run(again, kill)
            assert code in (0, -signal.SIGKILL), (kill.what, runs.said(again))
        assert runs.run(again) == 0
        assert runs.made(again) == wanted
        assert driver.stdin is not None
        driver.stdin.close()
