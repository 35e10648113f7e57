"""Where a token stands: added to its embedding, or to the products of queries and keys."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hub.engine.architecture import STACKS, RelativeBias, Stack
from hub.engine.families import Checkpoint
from hub.engine.sinusoids import sinusoids


class Positions(Protocol):
    """How a model knows the order of its tokens."""

    def add(self, stack: Stack, embedded: Tensor, positions: Tensor) -> Tensor:
        """Add to embeddings `(tokens, d_model)`, in place, from positions `(tokens,)`."""
        ...

    def bias_source(self, mask: Tensor) -> Tensor:
        """Add to an encoder mask `(count, 1, 1, length)`; a query a row where it differs."""
        ...

    def bias_step(self, mask: Tensor, positions: Tensor) -> Tensor:
        """Add to a decoder mask `(rows, 1, 1, keys)` of queries at `positions (rows,)`."""
        ...

    def by_distance(self, longest: int) -> Tensor | None:
        """Return the decoder's bias `(heads, longest)` by query minus key; None for none."""
        ...


def find_positions(checkpoint: Checkpoint, dtype: torch.dtype) -> Positions:
    """Return the positions of a base, read or computed."""
    architecture = checkpoint.architecture
    if architecture.relative is not None:
        return RelativePositions.build(checkpoint, architecture.relative, dtype)
    if architecture.positions == "learned":
        tables = {stack: checkpoint.positions(stack).to(dtype) for stack in STACKS}
        return TablePositions(tables)
    table = sinusoids(architecture).to(dtype)
    return TablePositions(dict.fromkeys(STACKS, table))


@dataclass(frozen=True, slots=True)
class TablePositions:
    """One vector a position, `(max_positions, d_model)`, added to embeddings."""

    tables: Mapping[Stack, Tensor]

    def add(self, stack: Stack, embedded: Tensor, positions: Tensor) -> Tensor:
        """Add each token's vector."""
        return embedded.add_(self.tables[stack].index_select(0, positions))

    def bias_source(self, mask: Tensor) -> Tensor:
        """Leave the mask alone."""
        return mask

    def bias_step(self, mask: Tensor, positions: Tensor) -> Tensor:
        """Leave the mask alone."""
        return mask

    def by_distance(self, longest: int) -> Tensor | None:
        """Have no bias."""
        return None


@dataclass(frozen=True, slots=True)
class RelativePositions:
    """T5's bias of every head by distance, the same in all layers of a stack.

    Attributes:
        around: `(heads, 2 * reach + 1)`, by key minus query plus `reach`: the encoder's.
        back: `(heads, reach + 1)`, by query minus key: the decoder's.
        reach: Distance from which on all are alike.
    """

    around: Tensor
    back: Tensor
    reach: int

    @classmethod
    def build(
        cls, checkpoint: Checkpoint, relative: RelativeBias, dtype: torch.dtype
    ) -> RelativePositions:
        """Lay the learned buckets out by distance."""
        reach = relative.max_distance
        distances = torch.arange(-reach, reach + 1)
        ahead = bucket_of(distances, relative.buckets // 2, reach)
        ahead += (distances > 0) * (relative.buckets // 2)
        behind = bucket_of(torch.arange(reach + 1), relative.buckets, reach)
        around = checkpoint.relative_bias("encoder")[ahead].t()
        back = checkpoint.relative_bias("decoder")[behind].t()
        return cls(around.contiguous().to(dtype), back.contiguous().to(dtype), reach)

    def add(self, stack: Stack, embedded: Tensor, positions: Tensor) -> Tensor:
        """Leave embeddings alone."""
        return embedded

    def bias_source(self, mask: Tensor) -> Tensor:
        """Return `(count, heads, length, length)`."""
        places = torch.arange(mask.shape[-1], device=mask.device)
        distances = (places - places.unsqueeze(1)).clamp_(-self.reach, self.reach)
        return mask + self.around[:, distances + self.reach]

    def bias_step(self, mask: Tensor, positions: Tensor) -> Tensor:
        """Return `(rows, heads, 1, keys)`; keys behind the query are masked anyway."""
        keys = torch.arange(mask.shape[-1], device=mask.device)
        distances = positions.unsqueeze(1) - keys
        bias = self.back[:, distances.clamp_(0, self.reach)]  # (heads, rows, keys)
        return mask + bias.transpose(0, 1).unsqueeze(2)

    def by_distance(self, longest: int) -> Tensor | None:
        """Return `(heads, longest)`, contiguous."""
        distances = torch.arange(longest).clamp_(max=self.reach)
        return self.back.index_select(1, distances).float()


def bucket_of(distances: Tensor, buckets: int, max_distance: int) -> Tensor:
    """Return T5's bucket of each distance, sign ignored, int64.

    The first half of the buckets are single distances, the others grow with the logarithm up
    to `max_distance` (arXiv 1910.10683, section 2.1; the exact form is the authors' code's).
    """
    exact = buckets // 2
    sizes = distances.abs()
    grown = torch.log(sizes.clamp_min(1).float() / exact) / math.log(max_distance / exact)
    far = (exact + (grown * (buckets - exact)).long()).clamp_max(buckets - 1)
    return torch.where(sizes < exact, sizes, far)
