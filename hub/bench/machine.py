"""On what a measurement was made."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

_PACKAGES: Final = ("torch", "transformers", "peft", "accelerate", "ctranslate2")


def machine(threads: int) -> dict[str, Any]:
    """Describe the machine, as far as the system tells."""
    return {
        "cpu": _field(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory": _field(Path("/proc/meminfo"), "MemTotal"),
        "system": platform.system(),
        "architecture": platform.machine(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def versions() -> dict[str, str | None]:
    """Return the version of everything that was measured; None where it is not installed."""
    from hub import __version__

    found: dict[str, str | None] = {"adapterhub": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _field(path: Path, name: str) -> str | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), None)
