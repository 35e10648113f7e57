"""From the decoder's output to each row's likeliest tokens: the whole table, or some tokens of it.

The output projection is the largest product of a step: 43 % of M2M-100 418M's, 60 % of NLLB 600M's.
A row with a shortlist needs the listed tokens' part of it only. That part is packed once, on first
use, and kept while rows use it and memory allows. A list without room is computed from the whole
table and its columns are picked: with 8-bit products to the same bits, so that what is packed
changes nobody's output.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from hub.engine.devices import CPU, upload
from hub.engine.int8 import Int8Vocabulary
from hub.engine.linear import Linear, Operand, Precision, Table
from hub.engine.native import Ranking
from hub.engine.rules import RuledRow
from hub.engine.search import EarlyRows, likeliest
from hub.engine.shortlists import Shortlist
from hub.engine.token_rows import OwnColumns, OwnLogits
from hub.engine.utf8 import CharacterRows

TABLE_BYTES: Final = 256 << 20
"""Memory for packed tables of shortlists, where nothing else is said."""

_PART_TOKENS: Final = 8192
"""Columns that are ranked at once, while they are in the cache."""


@dataclass(frozen=True)
class OutputTable:
    """The output projection onto the whole vocabulary, or onto a shortlist.

    Attributes:
        linear: Returns `(rows, columns)`.
        bias: `(columns,)` float32, None for none.
        precision: Prepares the rows.
        scale: Of the decoder's output.
        ranks: The compiled kernels rank its columns.
        index: `(columns,)` int64, the token of each column; None where a column is its token.
        own: Rows that have logits of their own for some tokens.
    """

    linear: Linear
    bias: Tensor | None
    precision: Precision
    scale: float
    ranks: bool
    index: Tensor | None = None
    own: tuple[OwnColumns, ...] = ()

    def adapted(self, own: tuple[OwnColumns, ...]) -> OutputTable:
        """Return the table for rows of which some have logits of their own."""
        return replace(self, own=own) if own else self

    def _within(self, rows: Sequence[int]) -> OutputTable:
        """Return the table for some of the rows, numbered in their order."""
        place = {row: number for number, row in enumerate(rows)}
        parts = (one.within(place) for one in self.own)
        return replace(self, own=tuple(one for one in parts if one.rows))

    def project(self, hidden: Tensor) -> Tensor:
        """Return logits `(rows, columns)`, float32."""
        logits = self.linear(self._operand(hidden)).float()
        for one in self._own_logits(hidden):
            one.put(logits)
        return logits if self.bias is None else logits.add_(self.bias)

    def _own_logits(self, hidden: Tensor) -> list[OwnLogits]:
        """Return what replaces the base's logits of `hidden (rows, d_model)`."""
        found = []
        for one in self.own:
            rows = upload(torch.tensor(one.rows), hidden.device)
            x = self._operand(hidden.index_select(0, rows))
            found.append(OwnLogits(rows, *one.tokens.logits(x, self.index)))
        return found

    def likeliest(
        self,
        hidden: Tensor,
        keep: int,
        early: EarlyRows,
        ruled: Sequence[RuledRow],
        characters: CharacterRows | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and tokens, `(rows, keep)` each, best first.

        Greedy log-probabilities are those before `early`, `ruled` and `characters` restrict the
        choice.
        """
        values, columns = self._likeliest(hidden, keep, early, ruled, characters)
        return values, columns if self.index is None else self.index[columns]

    def _likeliest(
        self,
        hidden: Tensor,
        keep: int,
        early: EarlyRows,
        ruled: Sequence[RuledRow],
        characters: CharacterRows | None,
    ) -> tuple[Tensor, Tensor]:
        if not self.ranks:
            return likeliest(self.project(hidden), keep, early, ruled, characters)
        barred = () if characters is None else characters.barred
        own = {one.row for one in ruled} | set(characters.inside if characters else ())
        if not own:
            return self._ranked(hidden, keep, early, barred)
        # A row must be ranked the same way in any company, so rows with rules, and those inside a
        # character, go apart.
        apart = sorted(own)
        place = {row: index for index, row in enumerate(apart)}
        rest = [row for row in range(len(hidden)) if row not in place]
        moved = [replace(one, row=place[one.row]) for one in ruled]
        states = None if characters is None else characters.within(apart)
        logits = self._within(apart).project(hidden[apart])
        parts = [likeliest(logits, keep, early.within(apart), moved, states)]
        if rest:
            ranked = self._within(rest)._ranked(hidden[rest], keep, early.within(rest), barred)
            parts.append(ranked)
        back = torch.tensor([*apart, *rest]).argsort()
        values, columns = (torch.cat(column)[back] for column in zip(*parts, strict=True))
        return values, columns

    def _ranked(
        self, hidden: Tensor, keep: int, early: EarlyRows, barred: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Rank the columns part by part, while the logits are in the cache.

        Args:
            hidden: `(rows, d_model)`.
            keep: How many columns to keep of each row.
            early: Rows that may not end yet.
            barred: Columns that no row may take.
        """
        x = self._operand(hidden)
        blocked = torch.zeros(x.rows, dtype=torch.bool)
        blocked[list(early.rows)] = True
        ends = torch.tensor(early.columns, dtype=torch.int64)
        ranking = Ranking(x.rows, keep, blocked, ends, barred)
        own = self._own_logits(hidden)
        for first, logits in self._parts(x):
            for one in own:
                one.put(logits, first)
            if self.bias is not None:
                logits += self.bias[first : first + logits.shape[1]]
            ranking.update(logits, first)
        return ranking.best()

    def _parts(self, x: Operand) -> Iterator[tuple[int, Tensor]]:
        """Yield the first column and the logits `(rows, part)` of each part."""
        if isinstance(self.linear, Int8Vocabulary):
            yield from self.linear.parts(x)
            return
        logits = self.linear(x)
        for first in range(0, logits.shape[1], _PART_TOKENS):
            yield first, logits[:, first : first + _PART_TOKENS].contiguous()

    def _operand(self, hidden: Tensor) -> Operand:
        return self.precision.operand(hidden if self.scale == 1.0 else hidden * self.scale)


@dataclass(frozen=True, slots=True)
class _Picked:
    """Some outputs of a whole product."""

    whole: Linear
    index: Tensor

    def __call__(self, x: Operand) -> Tensor:
        return self.whole(x).index_select(1, self.index)

    def add_to(self, hidden: Tensor, x: Operand) -> None:
        hidden += self(x)


@dataclass(slots=True)
class _Held:
    """A table of a shortlist.

    Attributes:
        nbytes: What is packed for it; 0 where columns are picked.
        step: The last step that used it.
    """

    table: OutputTable
    nbytes: int
    step: int


class OutputTables:
    """The whole table, and those of the shortlists in use; the least recently used leave first.

    A table that the last two steps used stays: rows need it, and packing it anew in every step
    would cost more than it saves.
    """

    def __init__(
        self,
        whole: OutputTable,
        table: Table,
        limit_bytes: int = TABLE_BYTES,
        device: torch.device = CPU,
    ) -> None:
        """Start with the whole table alone.

        Args:
            whole: The base's.
            table: Its projection, of which parts are packed.
            limit_bytes: Most memory for packed parts; 0 for none.
            device: Where it lies.
        """
        self._whole = whole
        self._table = table
        self._device = device
        self._limit = limit_bytes
        self._held: OrderedDict[Shortlist, _Held] = OrderedDict()
        self._step = 0

    @property
    def nbytes(self) -> int:
        """Return the bytes that packed tables take."""
        return sum(held.nbytes for held in self._held.values())

    @property
    def packed(self) -> int:
        """Return the number of packed tables."""
        return sum(held.nbytes > 0 for held in self._held.values())

    def begin_step(self) -> None:
        """Let go of what holds no memory and was not used in the step before."""
        self._step += 1
        for shortlist, held in list(self._held.items()):
            if not held.nbytes and held.step < self._step - 1:
                del self._held[shortlist]

    def find(self, shortlist: Shortlist | None) -> OutputTable:
        """Return the table of a shortlist, packed where there is room; of None the whole one."""
        if shortlist is None:
            return self._whole
        held = self._held.get(shortlist)
        if held is None or (not held.nbytes and self._has_room(shortlist)):
            held = self._held[shortlist] = self._build(shortlist)
        held.step = self._step
        self._held.move_to_end(shortlist)
        return held.table

    def drop(self, shortlist: Shortlist) -> None:
        """Let go of a table that nobody will use again."""
        self._held.pop(shortlist, None)

    def _build(self, shortlist: Shortlist) -> _Held:
        tokens = torch.frombuffer(shortlist.ids, dtype=torch.int32).long()
        there = upload(tokens, self._device)
        bias = None if self._whole.bias is None else self._whole.bias.index_select(0, there)
        nbytes = self._cost(shortlist) if self._make_room(shortlist) else 0
        linear = self._table.select(there) if nbytes else _Picked(self._table, there)
        table = replace(self._whole, linear=linear, bias=bias, index=tokens)
        return _Held(table, nbytes, self._step)

    def _cost(self, shortlist: Shortlist) -> int:
        return len(shortlist) * self._table.row_bytes

    def _has_room(self, shortlist: Shortlist) -> bool:
        """Tell whether a table fits beside those in use."""
        cost = self._cost(shortlist)
        used = sum(held.nbytes for held in self._held.values() if held.step >= self._step - 1)
        return 0 < cost <= self._limit - used

    def _make_room(self, shortlist: Shortlist) -> bool:
        """Let idle tables go until another fits; nothing goes where it would not."""
        if not self._has_room(shortlist):
            return False
        cost = self._cost(shortlist)
        idle = [key for key, held in self._held.items() if held.step < self._step - 1]
        for key in idle:
            if self.nbytes + cost <= self._limit:
                break
            del self._held[key]
        return True
