"""Wall time and peak memory of opening a base as NLLB-200 600M is published: `pytorch_model.bin`.

Random weights at the real dimensions, float32, with every key and copy of the published file.
Each step runs in a process of its own; its peak is the kernel's maximum resident size, in which
pages of mapped files count as long as they are in memory.

    python tests/bench/open_published.py [--dims nllb-600m] [--folder FOLDER] [--keep]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OPEN = "from hub.bases import open_base; base = open_base({ref!r}); {what}"
STEPS = {
    "cold: convert": "base.folder",
    "warm: open": "base.folder",
    "first digest": "print(base.digest)",
    "digest again": "print(base.digest)",
    "engine, int8": "from hub.engine.engine import Engine; "
    "Engine.load(base, quantization='int8', slots=8, max_rows=64)",
    "engine, float32": "from hub.engine.engine import Engine; "
    "Engine.load(base, quantization='float32', slots=8, max_rows=64)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dims", default="nllb-600m")
    parser.add_argument("--folder", type=Path, help="where to build it; a new one under /tmp")
    parser.add_argument("--keep", action="store_true", help="leave the files there")
    options = parser.parse_args()
    with folder_of(options.folder, options.keep) as home:
        target = home / "published"
        if not (target / "pytorch_model.bin").exists():
            command = [sys.executable, __file__, "build", options.dims, str(target)]
            subprocess.run(command, check=True)
        size = (target / "pytorch_model.bin").stat().st_size
        print(f"{target / 'pytorch_model.bin'}: {size / 1e9:.3f} GB")
        for name, what in STEPS.items():
            seconds, peak = measured(OPEN.format(ref=str(target), what=what), home / "cache")
            print(f"{name:18} {seconds:7.2f} s   peak {peak / 1e9:6.3f} GB")


def build(dims: str, target: Path) -> None:
    """Write the checkpoint in the layout of the published file."""
    import torch

    from hub.bench.models import _tensors, model_config

    config = model_config(dims)
    target.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.float() for name, tensor in _tensors(config)}
    table = state["model.shared.weight"]
    for copy in ("model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head"):
        state[f"{copy}.weight"] = table
    torch.save(state, target / "pytorch_model.bin")
    (target / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def measured(code: str, cache: Path) -> tuple[float, int]:
    """Run code in a process; return its wall seconds and peak bytes."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "HUB_CACHE": str(cache)}
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the step failed with status {status}")
    return time.perf_counter() - started, usage.ru_maxrss * 1024


@contextmanager
def folder_of(given: Path | None, keep: bool) -> Iterator[Path]:
    home = given or Path(tempfile.mkdtemp(prefix="open-published-"))
    try:
        yield home
    finally:
        if not keep:
            shutil.rmtree(home)


if __name__ == "__main__":
    if sys.argv[1:2] == ["build"]:
        build(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
