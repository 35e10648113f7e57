"""What a token attends to in the source: word alignment from cross-attention.

Of the decoder layers, one two thirds of the way up says best which source token an output token
translates (Garg et al., 2019, "Jointly Learning to Align and Translate with Transformer Models",
find the last but one of six). Its weights are averaged over the heads, and the source token with
the largest mean is the answer. The step that counts is the one that chooses the token.

The attention kernels return no weights, so they are computed apart: from the queries of that one
layer, for the rows that ask, against the keys in the cache. Nothing is computed for others, and no
row's output depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hub.engine.architecture import Architecture
from hub.engine.cache import Lane
from hub.engine.layers import Attend

Asking = tuple[tuple[Lane, int, int], slice, int]
"""A request's lane, index and first source entry; its rows in the step; its source's length."""


def alignment_layer(decoder_layers: int) -> int:
    """Return the decoder layer, from 0, whose cross-attention says the alignment."""
    return 2 * decoder_layers // 3


class CrossQueries:
    """The cross-attention queries of the alignment layer, kept while a step runs.

    Attributes:
        layer: Which layer that is.
        projected: `(rows, heads * head_dim)` of the last step; None before there was one.
    """

    def __init__(self, architecture: Architecture) -> None:
        """Choose the layer."""
        self.layer = alignment_layer(architecture.decoder_layers)
        self.projected: Tensor | None = None

    def watch(self, attend: Attend) -> Attend:
        """Return an attention that does the same and keeps the queries."""
        return _Watched(attend, self)


@dataclass(frozen=True, slots=True)
class _Watched:
    attend: Attend
    queries: CrossQueries

    def __call__(self, layer: int, projected: Tensor) -> Tensor:
        if layer == self.queries.layer:
            self.queries.projected = projected
        return self.attend(layer, projected)


def attended_tokens(queries: CrossQueries, asking: Sequence[Asking]) -> list[list[int]]:
    """Return for each request, for each of its rows, the source token it attends to most.

    Requests are computed one by one: the shapes, and with them the bits, depend on nobody else.
    """
    assert queries.projected is not None
    found = [_attended(queries.layer, queries.projected[one[1]], *one[0], one[2]) for one in asking]
    widths = [len(one) for one in found]
    every = torch.cat(found).tolist()  # one copy from a GPU, not one for each request
    starts = [sum(widths[:index]) for index in range(len(widths))]
    return [every[start : start + width] for start, width in zip(starts, widths, strict=True)]


def _attended(
    layer: int, projected: Tensor, lane: Lane, index: int, first: int, length: int
) -> Tensor:
    """Return `(rows,)` for the rows of one request.

    Keys in front of `first` are an adapter's prefix: they take part in the softmax, as they do in
    the attention itself, but are no source tokens.
    """
    keys = lane.cross_kv[layer, 0, index, :, : first + length]  # (heads, entries, head_dim)
    heads, _, head_dim = keys.shape
    split = projected.reshape(-1, heads, head_dim).transpose(0, 1)  # (heads, rows, head_dim)
    products = split.float() @ keys.float().transpose(1, 2) * lane.scale
    weights = products.softmax(-1).mean(0)  # (rows, entries)
    return weights[:, first:].argmax(-1)
