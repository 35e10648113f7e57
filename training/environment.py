"""What a training ran on: versions and machine, as far as they decide which bytes come out."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from hub import __version__
from hub.manifest import EnvironmentRecord

LIBRARIES: Final = ("torch", "transformers", "peft", "sacrebleu", "sentencepiece")
"""Those whose release can change an adapter or its scores."""
_PROCESSORS: Final = Path("/proc/cpuinfo")


def environment(precision: str, *, scored_in: str) -> EnvironmentRecord:
    """Describe this process's versions and machine.

    Args:
        precision: Of the base's products while training.
        scored_in: The serving engine's numbers while scoring.
    """
    import torch

    from training.loop.devices import training_device

    device = training_device()
    return EnvironmentRecord(
        python=platform.python_version(),
        libraries={"adapterhub": __version__} | {name: _version(name) for name in LIBRARIES},
        device=device,
        processor=torch.cuda.get_device_name() if device == "cuda" else _processor(),
        threads=torch.get_num_threads(),
        precision=precision,
        scored_in=scored_in,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


@cache
def _processor() -> str:
    """Return the CPU's model and the vector instructions that torch uses on it."""
    import torch

    return f"{_model_name()}, {torch.backends.cpu.get_cpu_capability()}"


def _model_name() -> str:
    try:
        lines = _PROCESSORS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
