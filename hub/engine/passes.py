"""An encoder pass that can be left after any layer and gone on with later.

Rows that are decoding wait while others' sources are encoded. Layer by layer, with decoder steps in
between, nobody waits for the whole of a pass, and a pass can take as many sources as are worth
while: it reads every weight for one of them as for eight.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Sequence

import torch
from torch import Tensor

from hub.engine.banks import Banks
from hub.engine.deltas import Deltas, StepAdapters
from hub.engine.devices import CPU
from hub.engine.model import Model, SourceBatch
from hub.engine.requests import DecodeRequest
from hub.engine.rows import Rows, Running

_MOST_TOKENS = 4096
"""Source tokens that one pass takes; more wait for the next."""
_STORING = 2.0
"""What the end of a pass takes, in layers: keys and values of all cross-attentions."""


class EncoderPass:
    """Sources on their way through the encoder, all of them at the same layer.

    Their adapters must stay in their slots until the pass ends or drops them.
    """

    def __init__(
        self,
        model: Model,
        banks: Banks,
        deltas: Deltas,
        requests: Sequence[DecodeRequest],
        device: torch.device = CPU,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Embed the sources; no layer has run yet."""
        self._model = model
        self._banks = banks
        self._deltas = deltas
        self._device = device
        self._clock = clock
        self._seconds = 0.0
        self._layer_seconds = 0.0
        self._layer = 0
        self._bind(requests)
        self._hidden = model.embed_sources(self._batch, self._adapters)

    def _bind(self, requests: Sequence[DecodeRequest]) -> None:
        """Lay out sources, keeping them in the batch's own order from here on."""
        self._batch = SourceBatch.build(
            [request.source_ids for request in requests],
            self._model.precision.hidden_dtype,
            [self._banks.prefixes(request.slot).encoder_self for request in requests],
            self._device,
        )
        self.requests = [requests[index] for index in self._batch.order]
        slots = [request.slot for request in self.requests for _ in request.source_ids]
        precision = self._model.precision
        self._adapters = StepAdapters(self._banks.plan(slots), self._deltas, precision)
        self._attend = self._model.attend_sources(self._batch)

    @property
    def tokens(self) -> int:
        """Return the number of source tokens."""
        return sum(self._batch.lengths)

    @property
    def _units(self) -> float:
        return len(self._model.encoder) + _STORING

    def run(self, rows: Rows, until: float) -> tuple[float, bool]:
        """Run at least one layer, and as many more as should end by `until` on the clock.

        Args:
            rows: Where the requests go when all layers have run.
            until: What running rows are let to wait for.

        Returns:
            The share of the pass that was done, and whether it has ended.
        """
        started, share = self._clock(), 0.0
        layers = len(self._model.encoder)
        while not share or self._clock() + self._next_seconds <= until:
            began = self._clock()
            if self._layer == layers:
                self._store(rows, started)
                return share + _STORING / self._units, True
            self._hidden = self._model.encode_layer(
                self._layer, self._hidden, self._attend, self._adapters
            )
            self._layer += 1
            self._layer_seconds = self._clock() - began
            share += 1 / self._units
        self._seconds += self._clock() - started
        return share, False

    @property
    def _next_seconds(self) -> float:
        storing = self._layer == len(self._model.encoder)
        return self._layer_seconds * (_STORING if storing else 1.0)

    def drop(self, keys: Container[int]) -> None:
        """Go on without some of the requests, whose adapters may then leave their slots."""
        kept = [request.key not in keys for request in self.requests]
        lengths = self._batch.lengths
        tokens = [keep for keep, own in zip(kept, lengths, strict=True) for _ in range(own)]
        self._hidden = _rows(self._hidden, tokens)
        self._bind([one for one, keep in zip(self.requests, kept, strict=True) if keep])

    def _store(self, rows: Rows, started: float) -> None:
        encoded = self._model.end_encoder(self._hidden, self._adapters)
        added: list[Running] = []
        try:
            for request in self.requests:
                added.append(self._add(rows, request))
            places = [one.place for one in added]
            self._model.store(encoded, self._batch, places, self._adapters)
        except BaseException:
            for one in reversed(added):  # they are still the pass's, not half in both
                rows.remove(one)
            raise
        self._seconds += self._clock() - started
        for one in added:
            one.encode_seconds = self._seconds

    def _add(self, rows: Rows, request: DecodeRequest) -> Running:
        """Give a request its rows; the adapter's list goes before the request's own."""
        slot, shortlist = request.slot, request.shortlist
        if shortlist is not None:
            shortlist = self._banks.shortlist(slot) or shortlist
        return rows.add(request, self._banks.prefixes(slot), shortlist, self._banks.tokens(slot))


class SourceQueue:
    """Requests that have no rows yet: those in the pass under way, and those that wait for one."""

    def __init__(
        self,
        begin: Callable[[Sequence[DecodeRequest]], EncoderPass],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Take what makes a pass of requests."""
        self._begin = begin
        self._clock = clock
        self._waiting: list[DecodeRequest] = []
        self._pass: EncoderPass | None = None

    @property
    def requests(self) -> Sequence[DecodeRequest]:
        """Return all of them, those in the pass first."""
        return self._waiting if self._pass is None else [*self._pass.requests, *self._waiting]

    def add(self, requests: Sequence[DecodeRequest]) -> None:
        """Let requests wait for the next pass."""
        self._waiting += requests

    def cancel(self, keys: Container[int]) -> list[int]:
        """Drop requests, out of the pass too; return the keys that were there."""
        found = [one.key for one in self.requests if one.key in keys]
        self._waiting = [one for one in self._waiting if one.key not in keys]
        if self._pass is not None and any(one.key in keys for one in self._pass.requests):
            self._leave_pass(self._pass, keys)
        return found

    def _leave_pass(self, begun: EncoderPass, keys: Container[int]) -> None:
        kept = [one for one in begun.requests if one.key not in keys]
        self._pass = None
        if not kept:
            return
        try:
            begun.drop(keys)
        except RuntimeError:  # there is no memory for it: the others begin anew
            self._waiting[:0] = kept
        else:
            self._pass = begun

    def encode(self, rows: Rows, until: float) -> tuple[int, float]:
        """Encode what waits until the clock says so; return sources at their end and tokens."""
        sources, tokens = 0, 0.0
        while self._pass is not None or self._waiting:
            if self._pass is None:
                chosen = self._next()
                self._pass = self._begin(chosen)
                del self._waiting[: len(chosen)]
            share, ended = self._pass.run(rows, until)
            tokens += share * self._pass.tokens
            if ended:
                sources += len(self._pass.requests)
                self._pass = None
            if not ended or self._clock() >= until:
                break
        return sources, tokens

    def _next(self) -> list[DecodeRequest]:
        """Return those of the waiting that the next pass takes; they wait until it has begun."""
        batch: list[DecodeRequest] = []
        tokens = 0
        for request in self._waiting:
            tokens += len(request.source_ids)
            if batch and tokens > _MOST_TOKENS:
                break
            batch.append(request)
        return batch


def _rows(hidden: Tensor, kept: Sequence[bool]) -> Tensor:
    index = torch.tensor(kept).nonzero().flatten()
    return hidden.index_select(0, index.to(hidden.device))
