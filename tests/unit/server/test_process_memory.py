from __future__ import annotations

import os
from pathlib import Path

from server.telemetry.process_memory import limit_bytes, resident_bytes

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def control_groups(folder: Path, **limits: str) -> tuple[Path, Path]:
    """Write a process in the group a/b, and the limits of root, a and b."""
    process, root = folder / "self", folder / "cgroup"
    process.mkdir()
    (process / "cgroup").write_text("0::/a/b\n")
    places = {"root": root, "a": root / "a", "b": root / "a" / "b"}
    (root / "a" / "b").mkdir(parents=True)
    for name, limit in limits.items():
        (places[name] / "memory.max").write_text(limit + "\n")
    return process, root


def test_the_limit_is_the_least_of_all_groups_around_the_process(tmp_path: Path) -> None:
    assert limit_bytes(*control_groups(tmp_path, a="1000000", b="max")) == 1_000_000


def test_without_a_limit_it_is_the_machine_s_memory(tmp_path: Path) -> None:
    assert limit_bytes(*control_groups(tmp_path, b="max")) == MACHINE
    assert limit_bytes(tmp_path / "nowhere", tmp_path / "nowhere") == MACHINE


def test_this_process_fits_into_its_limit() -> None:
    assert 0 < resident_bytes() < limit_bytes() <= MACHINE
