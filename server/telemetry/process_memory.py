"""How much memory this process has, and may have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_PROCESS: Final = Path("/proc/self")
_CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def limit_bytes(process: Path = _PROCESS, groups: Path = _CONTROL_GROUPS) -> int:
    """Return the memory that this process may take; 0 where the system does not tell.

    It is the least of the machine's memory and the limits of the control groups (version 2) that
    the process is in, such as a container's or a systemd unit's.

    Args:
        process: Folder of the process in /proc.
        groups: Where control groups are mounted.
    """
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        found = 0
    for folder in _groups(process, groups):
        try:
            text = (folder / "memory.max").read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            found = min(found or int(text), int(text))
    return found


def _groups(process: Path, root: Path) -> list[Path]:
    """Return the folders of the process's control group and of those around it."""
    try:
        lines = (process / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    names = [line.removeprefix("0::").strip("/") for line in lines if line.startswith("0::")]
    found = [root]
    for part in names[0].split("/") if names and names[0] else []:
        found.append(found[-1] / part)
    return found
