"""Prefixes: trained keys and values in front of a row's own (Li and Liang, 2021).

A prefix lives with its slot. When a request is admitted its keys and values are copied into the
request's own cache, in front of the real ones, and from then on they are entries like any other:
a row sees its cache from position 0 to its own length, and no row sees another's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hub.engine.architecture import Stack
from hub.engine.devices import CPU, upload


@dataclass(frozen=True, slots=True)
class Prefix:
    """One adapter's prefix of one attention, all layers.

    Attributes:
        stack: "encoder" or "decoder".
        site: "self_attn" or "cross_attn".
        rows: `(layers, length, 2 * inner)`: each entry's key and its value, laid out as the
            fused projections lay them out.
        shifts: The target's position embeddings start behind the prefix (PEFT's prefix tuning).
    """

    stack: Stack
    site: str
    rows: Tensor
    shifts: bool = False

    @property
    def length(self) -> int:
        """Return the number of entries."""
        return self.rows.shape[1]

    @property
    def nbytes(self) -> int:
        """Return the bytes that placing this prefix copies."""
        return self.rows.nbytes

    def write(self, cache: Tensor, first: int, last: int) -> None:
        """Copy into rows `first` to `last` of a cache, from position 0 on.

        Args:
            cache: `(layers, 2, rows, heads, positions, head_dim)`.
            first: First row.
            last: One past the last.
        """
        layers, _, _, heads, _, head_dim = cache.shape
        split = self.rows.view(layers, self.length, 2, heads, head_dim).permute(0, 2, 3, 1, 4)
        cache[:, :, first:last, :, : self.length] = split.unsqueeze(2)


@dataclass(frozen=True, slots=True)
class SlotPrefixes:
    """The prefixes of one slot; None where it has none."""

    encoder_self: Prefix | None = None
    decoder_self: Prefix | None = None
    cross: Prefix | None = None

    @classmethod
    def of(cls, prefixes: Sequence[Prefix]) -> SlotPrefixes:
        """Sort an adapter's prefixes by where they act."""
        found = {(prefix.stack, prefix.site): prefix for prefix in prefixes}
        return cls(
            encoder_self=found.get(("encoder", "self_attn")),
            decoder_self=found.get(("decoder", "self_attn")),
            cross=found.get(("decoder", "cross_attn")),
        )

    @property
    def target_length(self) -> int:
        """Return the cache entries in front of a target."""
        return self.decoder_self.length if self.decoder_self else 0

    @property
    def source_length(self) -> int:
        """Return the cross-attention entries in front of a source."""
        return self.cross.length if self.cross else 0

    @property
    def position_shift(self) -> int:
        """Return how far the target's position embeddings move."""
        own = self.decoder_self
        return own.length if own is not None and own.shifts else 0


NO_PREFIXES = SlotPrefixes()


@dataclass(frozen=True, slots=True)
class PrefixedKeys:
    """Keys and values of an encoder bucket whose sources have prefixes.

    A source's own entries follow its prefix, so what its attention sees depends on its own
    length and its own prefix alone.

    Attributes:
        count: Number of sources.
        length: Rounded number of entries of each.
        own: `(tokens,)` where the keys of each flat row go in `(count * length)`.
        before: `(entries,)` where the prefixes' entries go.
        prefixes: Those prefixes, in that order.
    """

    count: int
    length: int
    own: Tensor
    before: Tensor
    prefixes: Sequence[Prefix]

    @classmethod
    def build(
        cls,
        length: int,
        lengths: Sequence[int],
        prefixes: Sequence[Prefix | None],
        device: torch.device = CPU,
    ) -> PrefixedKeys:
        """Lay out sources of the given own lengths, `length` entries for each."""
        own: list[int] = []
        before: list[int] = []
        for index, (tokens, prefix) in enumerate(zip(lengths, prefixes, strict=True)):
            first = index * length
            ahead = prefix.length if prefix else 0
            before += range(first, first + ahead)
            own += range(first + ahead, first + ahead + tokens)
        there = [prefix for prefix in prefixes if prefix]
        places, ahead_places = (upload(torch.tensor(part), device) for part in (own, before))
        return cls(len(lengths), length, places, ahead_places, there)

    def spread(self, layer: int, projected: Tensor) -> Tensor:
        """Return `(count, length, 2 * inner)` from flat `(tokens, 2 * inner)`, zeros between."""
        width = projected.shape[1]
        spread = projected.new_zeros(self.count * self.length, width)
        spread.index_copy_(0, self.own, projected)
        entries = torch.cat([prefix.rows[layer] for prefix in self.prefixes])
        spread.index_copy_(0, self.before, entries.to(spread.dtype))
        return spread.view(self.count, self.length, width)
