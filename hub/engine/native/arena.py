"""Memory for weights."""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import Final

import torch
from torch import Tensor

_CACHE_LINE: Final = 64
_HUGE_PAGE: Final = 2 << 20


class WeightArena:
    """Memory for weights, in huge pages where the system has them.

    Reading a large model's weights once a step goes through every page of them; huge pages
    spare the look-ups. One arena serves a whole model, so nothing is lost to rounding.
    """

    def __init__(self, chunk_bytes: int = 64 << 20) -> None:
        """Start without memory; it is taken from the system a chunk at a time."""
        self._chunk_bytes = chunk_bytes
        self._free = torch.empty(0, dtype=torch.int8)

    def keep(self, values: Tensor) -> Tensor:
        """Return a contiguous copy of int8 `values`, aligned to a cache line."""
        size = values.numel()
        if size > self._free.numel():
            self._free = _huge_pages(max(size, self._chunk_bytes))
        kept = self._free[:size].view(values.shape).copy_(values)
        self._free = self._free[-(-size // _CACHE_LINE) * _CACHE_LINE :]
        return kept


def _huge_pages(size: int) -> Tensor:
    memory = mmap.mmap(-1, size + _HUGE_PAGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them; small pages do as well, slower
            memory.madvise(mmap.MADV_HUGEPAGE)
    flat = torch.frombuffer(memory, dtype=torch.int8)
    start = -flat.data_ptr() % _HUGE_PAGE
    return flat[start : start + size]
