"""Rows of the token table (PEFT's trainable tokens), trained without copies of the table.

PEFT writes the rows into a copy of the table, `(vocabulary, d_model)`, for each of the embeddings
and for the output of every forward pass, and takes a gradient of that size of each. While training,
a layer here computes what the frozen table gives and selects its own rows' results:

    x = table[t], or own[t] where t has a row
    logits = h tableᵀ, with columns h ownᵀ where a token has a row

The sums are the same up to their order. In evaluation the layer is PEFT's own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
from peft.utils.other import TrainableTokensWrapper
from torch import Tensor, nn
from torch.nn import functional


class OwnRows(NamedTuple):
    """Rows that are trained.

    Attributes:
        table: The module whose weight the others come from: the frozen projection.
        rows: `(n, d_model)`.
        ids: `(n,)` int64, their tokens.
    """

    table: nn.Module
    rows: nn.Parameter
    ids: Tensor


def quicken_rows(model: nn.Module) -> None:
    """Let every layer of trainable tokens in a model be a `QuickRows`."""
    for module in model.modules():
        if type(module) is TrainableTokensLayer:
            module.__class__ = QuickRows


def own_rows(head: nn.Module) -> OwnRows | None:
    """Return the rows that a projection trains; None where it has none, or does not train."""
    layer: Any = head.token_adapter if isinstance(head, TrainableTokensWrapper) else head
    if not isinstance(layer, QuickRows) or not layer.training:
        return None
    return layer.trained(layer.active_adapters)


class QuickRows(TrainableTokensLayer):
    """Select the results of own rows instead of writing them into the table."""

    def trained(self, adapters: list[str]) -> OwnRows | None:
        """Return the rows of the one adapter that acts; None where none or several do."""
        acting = [name for name in adapters if name in self.token_indices]
        if self.disable_adapters or self.merged or len(acting) != 1:
            return None
        rows = self.trainable_tokens_delta[acting[0]]
        index = torch.tensor(self.token_indices[acting[0]], device=rows.device)
        return OwnRows(self.base_layer, rows, index)

    def forward_adapters(
        self, x: Tensor, active_adapters: list[str], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Return embeddings of tokens `x (…,)`, or logits of states `x (…, d_model)`."""
        own = self.trained(active_adapters) if self.training else None
        if own is None:
            found: Tensor = super().forward_adapters(x, active_adapters, *args, **kwargs)
            return found
        plain: Tensor = self.base_layer(x, *args, **kwargs)
        if isinstance(self.base_layer, nn.Linear):
            columns = functional.linear(x.to(own.rows.dtype), own.rows)
            return plain.index_copy(-1, own.ids, columns.to(plain.dtype))
        return torch.where(*self._embedded(x, own, plain.dtype), plain)

    def _embedded(self, ids: Tensor, own: OwnRows, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return which tokens have a row, `(…, 1)`, and the rows as embeddings, `(…, d_model)`."""
        count = len(own.rows)
        assert isinstance(self.base_layer, nn.Embedding)
        place = torch.full((self.base_layer.num_embeddings,), count, device=ids.device)
        place[own.ids] = torch.arange(count, device=ids.device)
        mine = place[ids]
        embedded = functional.embedding(mine.clamp(max=count - 1), own.rows)
        scale = self._get_embed_scale()  # type: ignore[no-untyped-call]
        if scale is not None:
            embedded = embedded * scale
        return (mine < count).unsqueeze(-1), embedded.to(dtype)
