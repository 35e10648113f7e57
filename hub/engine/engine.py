"""The engine: requests in, hypotheses out, one decoder step at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from hub.bases import Base
from hub.bases.tokenizer import BaseTokenizer, load_tokenizer
from hub.engine.adapters import AdapterReader, HostAdapter
from hub.engine.alignment import CrossQueries
from hub.engine.architecture import Architecture
from hub.engine.banks import Banks, Plan
from hub.engine.constraints import check_constraints
from hub.engine.deltas import StepAdapters, find_deltas
from hub.engine.devices import CPU, find_device
from hub.engine.families import Checkpoint, find_family
from hub.engine.graphs import Capture, GraphRunner, find_capture
from hub.engine.linear import Quantization
from hub.engine.memory import return_freed_memory
from hub.engine.model import DecoderStep, Model, build_model
from hub.engine.output import TABLE_BYTES, OutputTables
from hub.engine.passes import EncoderPass, SourceQueue
from hub.engine.precisions import find_precision
from hub.engine.reading import CheckedReader
from hub.engine.requests import DecodeRequest, Finished, StepReport
from hub.engine.rows import Rows
from hub.engine.rules import check_shortlist
from hub.engine.shortlists import Shortlist
from hub.engine.token_rows import SlotTokens
from hub.engine.utf8 import Utf8Rule
from hub.errors import (
    DecodingError,
    EngineError,
    HubError,
    SlotsBusyError,
    TextError,
    WrongBaseError,
)
from hub.manifest import AdapterManifest


class Engine:
    """One base model, its adapter slots and the rows that run on them.

    One thread drives `place`, `clear`, `admit`, `step` and `cancel`; any thread may call
    `read_adapter`.
    """

    def __init__(
        self,
        model: Model,
        banks: Banks,
        reader: AdapterReader,
        base: Base,
        max_rows: int,
        device: torch.device = CPU,
        capture: Capture | None = None,
        utf8: Utf8Rule | None = None,
        table_bytes: int = TABLE_BYTES,
    ) -> None:
        """Assemble; `Engine.load` is the way in."""
        self._model = model
        self._banks = banks
        self._reader = reader
        self._base = base
        self._max_rows = max_rows
        self._deltas = find_deltas(model.precision)
        self._sources = SourceQueue(self._begin_pass)
        self._device = device
        self._graphs = GraphRunner(model, banks, capture, device) if capture else None
        self._utf8 = utf8
        self._tables = OutputTables(model.table, model.output, table_bytes, device)
        self._table_bytes = table_bytes
        self._rows = Rows(model.architecture, model.precision, device, utf8)
        self._plan: tuple[tuple[int, int], Plan] | None = None

    @classmethod
    def load(
        cls,
        base: Base,
        *,
        quantization: str,
        slots: int,
        max_rows: int,
        threads: int | None = None,
        device: str = "cpu",
        capture: Capture | None = None,
        tokenizer: BaseTokenizer | None = None,
        table_bytes: int = TABLE_BYTES,
    ) -> Engine:
        """Read and pack a base.

        Args:
            base: An opened base of a served family.
            quantization: "auto" or one of `hub.engine.linear.Quantization`.
            slots: Adapter slots, numbered from 1; slot 0 is the plain base.
            max_rows: Most decoder rows, beams counted one by one.
            threads: Threads of each product, for the whole process; None leaves them alone.
            device: "auto", "cpu", "cuda" or "cuda:n".
            capture: How decode steps are recorded; by default CUDA graphs on a GPU, and nothing
                on a CPU. Only for precisions that keep adapters in floats.
            tokenizer: The base's, where the caller has loaded it: its byte pieces must form valid
                UTF-8. Without it the base's own is loaded, if it has one.
            table_bytes: Most memory for the output tables of shortlists.

        Raises:
            BaseNotFoundError: The family is not served.
            CorruptBaseError: The weights do not fit the config.
            SettingsError: The quantization or the device is unknown, not there, or they do not
                go together.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        place = find_device(device)
        precision = find_precision(quantization, place)
        family = find_family(base.config)
        architecture = base.architecture
        with torch.inference_mode():
            model = build_model(Checkpoint(base, family), precision, place)
        return_freed_memory()
        reader = CheckedReader.of(base, precision).reader
        banks = Banks(architecture, slots, find_deltas(precision).merge_macs, place)
        capture = capture or find_capture(precision, place)
        utf8 = Utf8Rule.of(_byte_pieces(base) if tokenizer is None else tokenizer.byte_ids)
        return cls(model, banks, reader, base, max_rows, place, capture, utf8, table_bytes)

    def twin(self, slots: int) -> Engine:
        """Return another engine over the same weights, with slots and rows of its own.

        Its steps run eagerly; nothing is recorded for it on a GPU.
        """
        banks = Banks(self.architecture, slots, self._deltas.merge_macs, self._device)
        return Engine(
            self._model, banks, self._reader, self._base, self._max_rows, self._device,
            utf8=self._utf8, table_bytes=self._table_bytes,
        )  # fmt: skip

    @property
    def architecture(self) -> Architecture:
        """Return the shape of the base."""
        return self._model.architecture

    @property
    def device(self) -> torch.device:
        """Return where the weights, adapters and caches are."""
        return self._device

    @property
    def device_bytes(self) -> int:
        """Return the bytes that this process has on the engine's GPU; 0 on a CPU."""
        on_gpu = self._device.type == "cuda"
        return torch.cuda.memory_allocated(self._device) if on_gpu else 0

    @property
    def quantization(self) -> Quantization:
        """Return the numbers that the base is kept in."""
        return self._model.precision.name

    @property
    def slots(self) -> int:
        """Return the number of adapter slots, the plain base not counted."""
        return self._banks.slots

    @property
    def max_rows(self) -> int:
        """Return the most decoder rows that may run at once."""
        return self._max_rows

    @property
    def running(self) -> int:
        """Return the rows in use, those admitted but not yet encoded included."""
        return self._rows.count + sum(one.options.beam_size for one in self._sources.requests)

    @property
    def adapter_bytes(self) -> int:
        """Return the bytes that the placed adapters take."""
        return self._banks.nbytes

    @property
    def table_bytes(self) -> int:
        """Return the bytes that output tables of shortlists take, beside the whole one."""
        return self._tables.nbytes

    def read_adapter(self, folder: Path, manifest: AdapterManifest | None = None) -> HostAdapter:
        """Read an adapter folder into host memory; safe on any thread.

        Raises:
            WrongBaseError: The manifest names another base.
            AdapterBindingError: A tensor does not bind, or the count is not the manifest's.
            IncompatibleAdapterError: The kind of adapter is not served.
            CorruptBlobError: A file cannot be read.
        """
        return CheckedReader(self._base, self._reader).read(folder, manifest)

    @torch.inference_mode()
    def place(self, slot: int, adapter: HostAdapter) -> None:
        """Copy an adapter into a slot, in place of what it held.

        Raises:
            EngineError: There is no such slot, or rows are running on it.
            WrongBaseError: The adapter was read for another base.
        """
        self._check_free(slot)
        own = self._base.digest
        if adapter.digest != own:
            raise WrongBaseError(
                f"the adapter was read for base {adapter.digest}, this engine serves {own}"
            )
        shortlist = None if adapter.tokens is None else Shortlist(adapter.tokens.tolist())
        self._leave(slot)
        self._banks.place(
            slot, adapter.parts, adapter.vectors, adapter.prefixes, shortlist,
            self._slot_tokens(adapter),
        )  # fmt: skip

    def _slot_tokens(self, adapter: HostAdapter) -> SlotTokens | None:
        """Pack an adapter's rows of the token table, where it has some."""
        rows, scale = adapter.token_rows, self.architecture.embedding_scale
        if rows is None:
            return None
        return SlotTokens.of(rows, self._model.precision, scale, self._device)

    def clear(self, slot: int) -> None:
        """Free a slot.

        Raises:
            EngineError: There is no such slot, or rows are running on it.
        """
        self._check_free(slot)
        self._leave(slot)
        self._banks.clear(slot)

    def _leave(self, slot: int) -> None:
        """Let go of the output table of a slot's adapter, unless another one shares it."""
        own = self._banks.shortlist(slot)
        others = (self._banks.shortlist(other) for other in self._banks.placed - {slot})
        if own is not None and own not in others:
            self._tables.drop(own)

    def admit(self, requests: Iterable[DecodeRequest]) -> None:
        """Take requests; the next steps encode them. All are taken or none.

        Raises:
            DecodingError: An option, a key or a length is out of range.
            TextError: A source is empty or longer than the base's positions.
            EngineError: A request's slot holds no adapter.
            SlotsBusyError: The rows would exceed `max_rows`.
        """
        batch = list(requests)
        keys = {one.request.key for one in self._rows.running}
        keys |= {one.key for one in self._sources.requests}
        for request in batch:
            if request.key in keys:
                raise DecodingError(f"key {request.key} is already running", field="key")
            keys.add(request.key)
            self._check(request)
        needed = sum(request.options.beam_size for request in batch)
        if self.running + needed > self._max_rows:
            raise SlotsBusyError(
                f"{needed} more rows do not fit: {self.running} of {self._max_rows} are in use"
            )
        self._sources.add(batch)

    @torch.inference_mode()
    def cancel(self, keys: Iterable[int]) -> tuple[int, ...]:
        """Drop requests at once, without a `Finished`; return the keys that were there."""
        wanted = set(keys)
        found = self._sources.cancel(wanted)
        running = [one for one in self._rows.running if one.request.key in wanted]
        for one in running:
            self._rows.remove(one)
        return (*found, *(one.request.key for one in running))

    @torch.inference_mode()
    def step(self, encode_seconds: float = math.inf) -> StepReport:
        """Encode what waits, then run the decoder once over every row.

        Args:
            encode_seconds: How long rows that are running may wait for encoding. At least one
                layer is run, and what is left goes on in the next step; results do not depend on
                it. With nobody running all that waits is encoded.
        """
        started = time.perf_counter()
        until = started + encode_seconds if self._rows.count else math.inf
        encoded, encoder_tokens = self._sources.encode(self._rows, until)
        decoding = time.perf_counter()
        rows, distinct = self._rows.count, self._rows.distinct_slots
        finished: list[Finished] = []
        tokens = 0
        if rows:
            queries = CrossQueries(self.architecture) if self._rows.aligned else None
            hidden = self._decode(self._rows.step(), queries)
            if queries is not None:
                self._rows.align(queries)
            self._tables.begin_step()
            tokens, ended = self._rows.advance(hidden, self._tables.find)
            seconds = time.perf_counter() - decoding
            finished = self._rows.finish(ended, seconds)
        return StepReport(
            finished=finished,
            rows=rows,
            distinct_adapters=distinct,
            tokens=tokens,
            encoded=encoded,
            unencoded=len(self._sources.requests),
            encoder_tokens=encoder_tokens,
            encode_seconds=decoding - started,
            decode_seconds=time.perf_counter() - decoding,
        )

    def translate(self, requests: Sequence[DecodeRequest]) -> list[Finished]:
        """Run requests to their end, as many at once as fit, and return them in order.

        Raises:
            DecodingError, TextError, EngineError: As `admit`.
        """
        waiting = sorted(requests, key=lambda one: -len(one.source_ids))
        ended: dict[int, Finished] = {}
        while waiting or self.running:
            room, batch = self._max_rows - self.running, []
            while waiting and waiting[0].options.beam_size <= room:
                batch.append(waiting.pop(0))
                room -= batch[-1].options.beam_size
            self.admit(batch)
            ended.update((one.key, one) for one in self.step().finished)
        return [ended[request.key] for request in requests]

    @torch.inference_mode()
    def forced_logits(self, requests: Sequence[DecodeRequest]) -> list[Tensor]:
        """Return each request's logits `(len(prefix_ids) + 1, vocab)` along its forced prefix.

        Runs beside whatever is running, on caches of its own.
        """
        for request in requests:
            self._check(request)
        model = self._model
        rows = Rows(self.architecture, model.precision, self._device)
        self._begin_pass(requests).run(rows, math.inf)
        plan = self._banks.plan(rows.slot_of_row())
        adapters = StepAdapters(plan, self._deltas, model.precision)
        found = rows.force(lambda step: model.decode(step, adapters), model.project)
        return [found[request.key] for request in requests]

    def _check(self, request: DecodeRequest) -> None:
        request.options.validate()
        architecture = self.architecture
        limit = architecture.max_positions
        if not 1 <= len(request.source_ids) <= limit:
            raise TextError(
                f"the source has {len(request.source_ids)} tokens, the base takes 1 to {limit}",
                field="contents",
            )
        shift = self._banks.prefixes(request.slot).position_shift
        ahead = f"the adapter's prefix of {shift} and " if shift else ""
        room = limit - shift - len(request.prefix_ids)
        if request.options.max_new_tokens > room:
            raise DecodingError(
                f"max_new_tokens is {request.options.max_new_tokens}, with {ahead}the forced "
                f"prefix the base takes at most {room}",
                field="max_new_tokens",
            )
        tokens = (*request.source_ids, *request.prefix_ids, *(request.options.bad_words or ()))
        tokens += tuple(token for forms in request.constraints for form in forms for token in form)
        if not 0 <= min(tokens) <= max(tokens) < architecture.vocab_size:
            raise TextError(f"a token id is outside the base's {architecture.vocab_size} tokens")
        check_constraints(request)
        if request.shortlist is not None:
            check_shortlist(request.shortlist, architecture)
        if request.options.beam_size > self._max_rows:
            raise DecodingError(
                f"beam_size is {request.options.beam_size}, this engine runs {self._max_rows} rows",
                field="beam_size",
            )
        if request.slot and request.slot not in self._banks.placed:
            raise EngineError(f"slot {request.slot} holds no adapter; place one first")

    def _check_free(self, slot: int) -> None:
        if not 1 <= slot <= self._banks.slots:
            raise EngineError(f"slot {slot} does not exist, there are 1 to {self._banks.slots}")
        if slot in self._rows.slots or any(one.slot == slot for one in self._sources.requests):
            raise EngineError(f"slot {slot} is in use by running rows; wait until they end")

    def _begin_pass(self, requests: Sequence[DecodeRequest]) -> EncoderPass:
        return EncoderPass(self._model, self._banks, self._deltas, requests, self._device)

    def _decode(self, step: DecoderStep, queries: CrossQueries | None) -> Tensor:
        plan = self._current_plan()
        if self._graphs is not None:
            hidden = self._graphs.decode(step, self._rows.slot_of_row(), plan, queries)
            if hidden is not None:
                return hidden
        adapters = StepAdapters(plan, self._deltas, self._model.precision)
        return self._model.decode(step, adapters, queries)

    def _current_plan(self) -> Plan:
        key = (self._rows.version, self._banks.version)
        if self._plan is None or self._plan[0] != key:
            self._plan = (key, self._banks.plan(self._rows.slot_of_row()))
        return self._plan[1]


def _byte_pieces(base: Base) -> Mapping[int, int]:
    """Return the byte pieces of a base's vocabulary; none where it has no tokenizer that loads.

    The engine itself runs on ids, and serves bases that no text can be given to.
    """
    try:
        return load_tokenizer(base).byte_ids
    except HubError:
        return {}
