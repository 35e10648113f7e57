"""Run the hub's own commands."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hub.errors import EngineError

_HUB = (sys.executable, "-m", "hub")


class CommandFailedError(EngineError):
    """A command of the demo ended with an error, which it has printed itself."""

    reason = "COMMAND_FAILED"


def train(arguments: Sequence[str], folder: Path) -> dict[str, Any]:
    """Run `hub train` with its progress on this terminal, and return its JSON report.

    Raises:
        CommandFailedError: It did not exit with 0.
    """
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "train.json"
        words = ["train", *arguments, *in_folder(folder), "--json", str(report)]
        _check(words, subprocess.run([*_HUB, *words], check=False).returncode)
        content: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return content


def unseen_segments(pair: str, count: int) -> list[dict[str, str]]:
    """Return test segments of the embedded corpus: what no adapter and no base was trained on.

    Raises:
        CommandFailedError: `hub corpus sample` did not exit with 0.
    """
    words = ["corpus", "sample", "--pair", pair, "--split", "test", "--lines", str(count), "--json"]
    done = subprocess.run([*_HUB, *words], check=False, stdout=subprocess.PIPE, encoding="utf-8")
    _check(words, done.returncode)
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def in_folder(folder: Path) -> list[str]:
    """Return the options that keep a training's registry and runs in the demo's folder."""
    return ["--registry", str(folder / "registry"), "--runs", str(folder / "runs")]


def serve_command(folder: Path, quantization: str) -> list[str]:
    """Return the command line of a server on free loopback ports."""
    return [
        *_HUB,
        "serve",
        "--registry",
        str(folder / "registry"),
        "--port",
        "0",
        "--metrics-port",
        "0",
        "--quantization",
        quantization,
        # The embedded base's products are too small to be worth sharing between cores.
        "--threads",
        "1",
        "--announce",
        "json",
        "--log-level",
        "warning",
    ]


def _check(words: Sequence[str], code: int) -> None:
    if code < 0 or code == 130:
        raise KeyboardInterrupt
    if code:
        raise CommandFailedError(f"`hub {' '.join(words)}` exited with {code}")
