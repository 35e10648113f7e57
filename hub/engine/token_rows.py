"""Adapters that are rows of the token table: read by a row's tokens, and chosen from by its logits.

The token table is the input embedding and, tied, the output projection. An adapter of this kind has
rows of its own for some tokens, its language's pieces, in place of the base's:

    x = scale · own[t]    where t is one of these tokens, else the base's row
    logit[t] = h · own[t] where t is one of these tokens, else the base's logit

So a row of the batch computes what a base with these rows in its table computes, with 8-bit numbers
to the same bits. Rows are replaced by selection and never added to, so that a row without such an
adapter, and every other token of a row with one, keeps its bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hub.engine.devices import CPU, mapped, upload
from hub.engine.linear import Embedding, Linear, Operand, Precision


@dataclass(frozen=True, slots=True)
class TokenRows:
    """One adapter's rows, in the numbers that they are served in.

    Attributes:
        ids: `(n,)` int64, the tokens, ascending.
        values: `(n, d_model)`, floats or int8.
        scale: `(n,)` float32, of int8 values; None of floats.
    """

    ids: Tensor
    values: Tensor
    scale: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Return the bytes that placing these rows copies."""
        scale = 0 if self.scale is None else self.scale.nbytes
        return self.ids.nbytes + self.values.nbytes + scale


class SlotTokens:
    """The rows of a slot's adapter, ready to be read and multiplied by."""

    def __init__(
        self, rows: TokenRows, embedding: Embedding, output: Linear, device: torch.device = CPU
    ) -> None:
        """Take an adapter's rows, and a small table of them in both of its uses on a device."""
        self.nbytes = rows.nbytes
        ids = rows.ids.clone()
        self._ids = ids
        self._ids_there = upload(ids, device)
        self._embedding = embedding
        self._output = output
        self._columns: tuple[Tensor | None, Tensor, Tensor | None] = (None, ids, None)

    @classmethod
    def of(
        cls, rows: TokenRows, precision: Precision, scale: float, device: torch.device = CPU
    ) -> SlotTokens:
        """Copy and pack an adapter's rows; the host's memory may go to another adapter.

        Args:
            rows: In host memory.
            precision: Of the base.
            scale: Of the base's embeddings.
            device: Where the base is.
        """
        there = mapped(rows, Tensor, lambda tensor: tensor.to(device, copy=True))
        embedding, output = precision.table_of(there.values, there.scale, scale)
        return cls(rows, embedding, output, device)

    def embed(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Return embeddings `hidden (rows, d_model)` with the own ones of `tokens (rows,)`.

        There is no branch on what the tokens are: a GPU is not waited for.
        """
        place = torch.searchsorted(self._ids_there, tokens).clamp_(max=len(self._ids) - 1)
        is_own = self._ids_there.index_select(0, place) == tokens
        own = self._embedding(place).to(hidden.dtype)
        return torch.where(is_own.unsqueeze(1), own, hidden)

    def logits(self, x: Operand, index: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the columns `(n,)` of the own tokens, ascending, and their logits `(rows, n)`.

        Args:
            x: The decoder's output, prepared.
            index: The token of each column of the logits, on the host; None where a column is its
                token. Own tokens that are not among them have no column.
        """
        if self._columns[0] is not index:
            self._columns = (index, *_among(self._ids, index))
        _, columns, places = self._columns
        own = self._output(x).float()
        return columns, own if places is None else own[:, upload(places, own.device)]


def _among(ids: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the columns of those tokens that are in an ascending list, and which these are."""
    if index is None:
        return ids, None
    place = torch.searchsorted(index, ids).clamp_(max=len(index) - 1)
    listed = index[place] == ids
    return place[listed], listed.nonzero().flatten()


@dataclass(frozen=True, slots=True)
class TokenGroup:
    """The rows of a step whose adapter has rows of the token table.

    Attributes:
        tokens: Its own.
        rows: `(n,)` indices into the step's rows, None for all of them in order.
    """

    tokens: SlotTokens
    rows: Tensor | None

    def embed(self, ids: Tensor, hidden: Tensor) -> Tensor:
        """Return all embeddings `(rows, d_model)` of `ids (rows,)` with this group's own."""
        if self.rows is None:
            return self.tokens.embed(ids, hidden)
        mine = hidden.index_select(0, self.rows)
        return hidden.index_copy(0, self.rows, self.tokens.embed(ids[self.rows], mine))


def group_rows(
    slot_of_row: Sequence[int], placed: Mapping[int, SlotTokens], device: torch.device
) -> tuple[TokenGroup, ...]:
    """Return the rows of a step by the adapters that have token rows, in the order of slots."""
    groups = []
    for slot in sorted(placed.keys() & set(slot_of_row)):
        rows = [row for row, own in enumerate(slot_of_row) if own == slot]
        everything = len(rows) == len(slot_of_row)
        index = None if everything else upload(torch.tensor(rows), device)
        groups.append(TokenGroup(placed[slot], index))
    return tuple(groups)


@dataclass(frozen=True, slots=True)
class OwnColumns:
    """Rows of logits whose adapter has its own logits for some tokens.

    Attributes:
        tokens: The adapter's.
        rows: Indices into the rows of logits.
    """

    tokens: SlotTokens
    rows: Sequence[int]

    @classmethod
    def of(cls, owners: Iterable[SlotTokens | None]) -> tuple[OwnColumns, ...]:
        """Group rows by their adapter's tokens; None is a row whose adapter has none."""
        rows: dict[SlotTokens, list[int]] = {}
        for row, tokens in enumerate(owners):
            if tokens is not None:
                rows.setdefault(tokens, []).append(row)
        return tuple(cls(tokens, mine) for tokens, mine in rows.items())

    def within(self, place: Mapping[int, int]) -> OwnColumns:
        """Return the same for some of the rows, each with its new number."""
        return replace(self, rows=[place[row] for row in self.rows if row in place])


@dataclass(frozen=True, slots=True)
class OwnLogits:
    """Logits that replace the base's.

    Attributes:
        rows: `(m,)` of the batch, on the device.
        columns: `(n,)` ascending, on the host.
        values: `(m, n)`.
    """

    rows: Tensor
    columns: Tensor
    values: Tensor

    def put(self, logits: Tensor, first: int = 0) -> None:
        """Write into `logits (rows, part)`, whose columns begin at `first`, in place."""
        bounds = torch.tensor([first, first + logits.shape[1]])
        low, high = torch.searchsorted(self.columns, bounds).tolist()
        if low == high:
            return
        columns = upload(self.columns[low:high] - first, logits.device)
        logits[self.rows.unsqueeze(1), columns] = self.values[:, low:high]
