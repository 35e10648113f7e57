from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.registry import Registry
from hub.registry.testing import example_manifest, write_adapter_folder

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


class Clock:
    """A clock that goes backwards a day at each look: nothing may depend on it."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        self.now -= timedelta(days=1)
        return self.now


@pytest.fixture
def root() -> Iterator[Path]:
    """Name a place for a registry, in memory where there is such a disk: syncs are slow."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder) / "registry"


@pytest.fixture
def registry(root: Path) -> Iterator[Registry]:
    with Registry.open(root, clock=Clock()) as opened:
        yield opened


@pytest.fixture
def adapter(tmp_path: Path) -> Callable[..., Path]:
    """Write an adapter folder; another seed gives another adapter."""

    def write(seed: int = 0, pair: str = "en-ko", method: str = "lora") -> Path:
        folder = tmp_path / f"{pair}.{method}.{seed}"
        if folder.exists():
            return folder
        return write_adapter_folder(folder, example_manifest(seed=seed, pair=pair, method=method))

    return write
