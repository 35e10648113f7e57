"""The most memory that one training takes, in a process that has run others before it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_RESET: Final = Path("/proc/self/clear_refs")
_STATUS: Final = Path("/proc/self/status")


class PeakMemory:
    """Peak of resident memory, or of the GPU's, from its making to `peak`."""

    def __init__(self) -> None:
        """Start anew: Linux forgets its high-water mark when 5 is written to clear_refs."""
        import torch

        self._on_gpu = torch.cuda.is_available()
        self._known = True
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
            return
        try:
            _RESET.write_text("5", encoding="ascii")
        except OSError:
            self._known = False

    def peak(self) -> int | None:
        """Return bytes; None where this machine does not tell them for a part of a process."""
        import torch

        if self._on_gpu:
            return int(torch.cuda.max_memory_allocated())
        if not self._known:
            return None
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None
