"""Keys and values of the rows that decode together.

A lane holds the requests of one beam width. Its live requests are always the
first ones, so a step slices and never gathers. Memory is reserved as zero pages
that the system backs when they are first written.

Positions behind a row's own are masked, and hold what an earlier row left there:
that is why a row that may not be finite is wiped when it leaves or moves, and why
lengths are rounded up to a multiple of 16 (docs/engine.md says why).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hub.engine.architecture import Architecture
from hub.engine.devices import CPU, upload
from hub.engine.native import Places

LENGTH_MULTIPLE = 16
_RESERVE_MULTIPLE = 64


def round_length(length: int, multiple: int = LENGTH_MULTIPLE) -> int:
    """Return `length` rounded up."""
    return -(-length // multiple) * multiple


class Lane:
    """Caches of the requests of one beam width.

    `self_kv` is `(layers, 2, rows, heads, positions, head_dim)`, where request i owns the rows
    `i * width` to `(i + 1) * width`. `cross_kv` is the same with one row per request, since
    the beams of a request share its source.
    """

    def __init__(
        self,
        architecture: Architecture,
        width: int,
        dtype: torch.dtype,
        device: torch.device = CPU,
    ) -> None:
        """Start empty."""
        self.width = width
        self.count = 0
        self._layers = architecture.decoder_layers
        self._heads = architecture.decoder_heads
        self._head_dim = architecture.attention_width("decoder") // architecture.decoder_heads
        self.scale = architecture.attention_scale("decoder")
        self._dtype = dtype
        self._device = device
        self.self_kv = self._reserve(0, 0)
        self.cross_kv = self._reserve(0, 0)
        self._source_lengths: list[int] = []
        self._cross_mask: Tensor | None = None
        self._cross_places: Places | None = None

    @property
    def nbytes(self) -> int:
        """Return the bytes reserved."""
        return self.self_kv.nbytes + self.cross_kv.nbytes

    def add(self, source_length: int, target_length: int) -> int:
        """Make room for one more request and return its index."""
        index = self.count
        self.ensure(index + 1, target_length, source_length)  # first, since it may fail
        self.count += 1
        self._source_lengths.append(source_length)
        self._cross_mask = self._cross_places = None
        return index

    def ensure(self, requests: int, positions: int, source_positions: int) -> None:
        """Make the caches at least this large, so that a padded step fits into them."""
        self.self_kv = self._grown(self.self_kv, requests * self.width, positions)
        self.cross_kv = self._grown(self.cross_kv, requests, source_positions)

    def remove(self, index: int, *, wipe: bool = False) -> None:
        """Drop a request; the last one takes its place.

        Args:
            index: The request to drop.
            wipe: Leave zeros where this request and the last one were: one of them may hold
                values that are not finite, and a mask does not stop those.
        """
        last = self.count - 1
        for kv, width in ((self.self_kv, self.width), (self.cross_kv, 1)):
            if index != last:
                self._own(kv, index, width).copy_(self._own(kv, last, width))
            if wipe:
                self._own(kv, last, width).zero_()
        self._source_lengths[index] = self._source_lengths[last]
        self._source_lengths.pop()
        self.count = last
        self._cross_mask = self._cross_places = None

    def reorder(self, sources: Sequence[int], length: int) -> None:
        """Let row i continue from row `sources[i]`, for the first `length` positions."""
        changed = [row for row, source in enumerate(sources) if row != source]
        if not changed:
            return
        used = self.self_kv[:, :, :, :, :length]
        origins = upload(torch.tensor([sources[row] for row in changed]), self._device)
        chosen = used.index_select(2, origins)
        used.index_copy_(2, upload(torch.tensor(changed), self._device), chosen)

    def cross_mask(self) -> Tensor:
        """Return the additive mask `(requests, 1, 1, source positions)`."""
        if self._cross_mask is None:
            mask = length_mask(torch.tensor(self._source_lengths), self._dtype)
            self._cross_mask = upload(mask, self._device)
        return self._cross_mask

    def cross_places(self) -> Places:
        """Return each row's request and the length of its source."""
        if self._cross_places is None:
            lengths = torch.tensor(self._source_lengths).repeat_interleave(self.width)
            owners = torch.arange(self.count).repeat_interleave(self.width)
            self._cross_places = Places(owners, lengths, max(self._source_lengths))
        return self._cross_places

    def _grown(self, kv: Tensor, rows: int, length: int) -> Tensor:
        old_rows, old_length = kv.shape[2], kv.shape[4]
        if rows <= old_rows and length <= old_length:
            return kv
        new_rows = old_rows if rows <= old_rows else max(rows, 2 * old_rows)
        new = self._reserve(new_rows, max(old_length, round_length(length, _RESERVE_MULTIPLE)))
        new[:, :, :old_rows, :, :old_length] = kv
        return new

    def _reserve(self, rows: int, length: int) -> Tensor:
        shape = (self._layers, 2, rows, self._heads, length, self._head_dim)
        if self._device.type != "cpu":
            return torch.zeros(shape, dtype=self._dtype, device=self._device)
        # numpy asks the system for zero pages; torch.zeros would touch every one of them.
        memory = np.zeros(shape, dtype=f"i{self._dtype.itemsize}")
        return torch.from_numpy(memory).view(self._dtype)

    @staticmethod
    def _own(kv: Tensor, index: int, width: int) -> Tensor:
        return kv[:, :, index * width : (index + 1) * width]


def length_mask(lengths: Tensor, dtype: torch.dtype) -> Tensor:
    """Return an additive mask `(rows, 1, 1, positions)`: 0 before each length, -inf behind it.

    The number of positions is the longest length rounded up to a multiple of 16.
    """
    positions = round_length(int(lengths.max()))
    hidden = torch.arange(positions) >= lengths.unsqueeze(1)
    mask = torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, float("-inf"))
    return mask[:, None, None, :]
