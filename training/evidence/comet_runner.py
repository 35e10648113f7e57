"""Score translations with COMET, in an environment of its own.

The hub runs this file by its path with another interpreter, whose environment has the package
`unbabel-comet` and not the hub; so it imports nothing of the hub, and keeps to the Python that such
environments have (3.8 and later).

    python comet_runner.py MODEL BATCH_SIZE < lines > answer

Each line of input is a JSON object with `src`, `mt` and `ref`. The answer is one line of JSON:
`{"scores": [...], "model": ..., "versions": {...}}`, or `{"error": ..., "stage": ...}`, where the
stage is what went wrong: `package`, `model` or `scoring`.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":  # run by path: the modules beside this file are not that environment's
    _own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or os.curdir) != _own]

import contextlib
import importlib
import io
import json
from collections.abc import Iterable
from typing import IO, Any


def _answer_stream() -> IO[str]:
    """Return the real standard output, and send whatever libraries print to standard error."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return stream


def _load(comet: Any, name: str) -> Any:
    """Return a model: a checkpoint on disk, or one that COMET knows by name."""
    return comet.load_from_checkpoint(name if os.path.isfile(name) else comet.download_model(name))


def _gpus() -> int:
    """Return 1 where torch sees a GPU; COMET's own default would fail without one."""
    try:
        import torch

        return int(torch.cuda.is_available())
    except ImportError:
        return 0


def _score(model: Any, samples: list[dict[str, str]], batch_size: int) -> list[float]:
    """Return one float for each sample; COMET 1 answers with a tuple, COMET 2 with an object."""
    found = model.predict(samples, batch_size=batch_size, gpus=_gpus())
    scores = found[0] if isinstance(found, tuple) else found.scores
    return [float(score) for score in scores]


def _versions() -> dict[str, str]:
    """Return the releases that a score depends on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in ("unbabel-comet", "torch", "transformers"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def run(model_name: str, batch_size: int, lines: Iterable[str]) -> dict[str, Any]:
    """Return the answer, as plain data."""
    stage = "package"
    try:
        comet = importlib.import_module("comet")  # of that environment, not of ours
        stage = "model"
        model = _load(comet, model_name)
        stage = "scoring"
        samples = [json.loads(line) for line in lines if line.strip()]
        scores = _score(model, samples, batch_size)
        return {"scores": scores, "model": model_name, "versions": _versions()}
    except Exception as error:  # it is the hub that shows it
        return {"stage": stage, "error": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Read standard input, write the answer."""
    answer = _answer_stream()
    lines = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8")
    found = run(sys.argv[1], int(sys.argv[2]), lines)
    answer.write(json.dumps(found) + "\n")
    answer.close()


if __name__ == "__main__":
    main()
