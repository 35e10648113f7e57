"""`hub bench engine`: base rows, mixed rows and other engines, interleaved in one run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from hub.bases import Base
from hub.bench.machine import machine, versions
from hub.bench.models import model_config, random_base
from hub.engine import native
from hub.engine.devices import find_device
from hub.engine.engine import Engine
from hub.engine.shortlists import Shortlist
from hub.errors import SettingsError
from hub.isa import forced_isa
from server.bench.adapters import RandomAdapter, random_adapter
from server.bench.apart import PeerProcess
from server.bench.limits import Limits, Work, held_libraries, measure_limits
from server.bench.memory import base_memory, placing
from server.bench.peers import Runner, find_peers
from server.bench.timing import interleave, rows_of
from server.bench.workload import END, Workload, random_shortlists

PIECES: Final = 32_768
"""Tokens of a list: all of a script that is not Latin, or the frequent ones of a Latin language."""

LEAST_PIECES: Final = 256

_SEEDS = 4
"""Different adapters written for each kind; every slot gets its own copy of one of them."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What to measure.

    Attributes:
        batches: Rows of each measurement, before beams.
        beams: Beam widths.
        adapters: Adapters in a mixed batch; 0 for as many as rows.
        kinds: Of adapters, taken in turn.
        budget: Fraction of the base's parameters that each adapter may take.
        against: Other engines.
        rounds: Counted rounds; one more warms up.
        device: Where the engines run.
        languages: Different shortlists of the rows of a run of its own; 0 for no such run.
        pieces: Tokens of each list.
    """

    dims: str
    quantization: str
    batches: tuple[int, ...]
    beams: tuple[int, ...] = (1,)
    adapters: int = 0
    kinds: tuple[str, ...] = ("bottleneck", "lora")
    budget: float = 0.01
    against: tuple[str, ...] = ()
    rounds: int = 3
    threads: int = 1
    device: str = "cpu"
    memory: bool = True
    languages: int = 0
    pieces: int = PIECES
    work: Workload = field(default_factory=Workload)

    def __post_init__(self) -> None:
        for name, values in (("batch", self.batches), ("beam", self.beams)):
            if not values or min(values) < 1:
                raise SettingsError(f"--{name} {values} must be whole numbers from 1")
        if not self.kinds:
            raise SettingsError("--kinds is empty; give bottleneck, lora or both")
        if self.rounds < 1 or self.threads < 1 or self.adapters < 0:
            raise SettingsError("--rounds, --threads and --adapters must be at least 1")
        self._check_lists()

    def _check_lists(self) -> None:
        if not self.languages:
            return
        most = int(model_config(self.dims)["vocab_size"]) - END
        if not LEAST_PIECES <= self.pieces <= most:
            raise SettingsError(
                f"--pieces {self.pieces} is out of range; {self.dims} takes lists of "
                f"{LEAST_PIECES} to {most} tokens"
            )


def bench_engine(
    options: EngineOptions, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure, and return what `--json` writes.

    Args:
        options: What to measure.
        folder: Where random bases, adapters and converted models are put.
        say: Told what is being done.

    Raises:
        SettingsError: An option is bad, or a package is missing.
        BudgetError: The budget buys no adapter.
    """
    find_peers(options.against)
    find_device(options.device)
    with held_libraries(os.environ):
        return _bench_engine(options, folder, say)


def _bench_engine(
    options: EngineOptions, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    torch.set_num_threads(options.threads)
    say(f"writing random weights of {options.dims}")
    base = random_base(options.dims, folder)
    adapters = _write_adapters(options, base, folder)
    memory = None
    if options.memory:
        memory = base_memory(base.folder, options.quantization, options.device)
    say(f"loading the engine in {options.quantization}")
    engine = _load(options, base)
    placed = placing(engine, adapters[: len(options.kinds)], slot=1)
    _place_all(engine, adapters)
    limits = _limits(engine, options, None)
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        peers = _start_peers(engine, options, base, folder, say, stack)
        runners = _runners(engine, options) | peers
        for beam in options.beams:
            for batch in options.batches:
                say(f"timing batch {batch}, beam {beam}: {', '.join(runners)}")
                samples = interleave(runners, batch, beam, options.rounds)
                rows += rows_of(samples, options.work.target_tokens)
                limits = _limits(engine, options, limits)
    _add_shares(rows, limits, Work.of(base.dimensions, options.work))
    return {
        "rows": rows,
        "limits": None if limits is None else asdict(limits),
        "memory": {
            "base": memory,
            "placed_adapters_bytes": engine.adapter_bytes,
            "shortlist_tables_bytes": engine.table_bytes,
        },
        "placing": placed,
        "workload": _describe(engine, options, base),
        "machine": machine(options.threads)
        | {"gpu": _gpu(engine.device), "kernels": native.variant(), "forced_isa": forced_isa()},
        "versions": versions(),
    }


def _write_adapters(options: EngineOptions, base: Base, folder: Path) -> list[RandomAdapter]:
    """Write a few adapters of each kind, kinds in turn."""
    return [
        random_adapter(kind, options.budget, base.dimensions, folder / "adapters", seed)
        for seed in range(_SEEDS)
        for kind in options.kinds
    ]


def _load(options: EngineOptions, base: Base) -> Engine:
    most = max(options.batches)
    return Engine.load(
        base,
        quantization=options.quantization,
        slots=max(most, 1),
        max_rows=most * max(options.beams),
        threads=options.threads,
        device=options.device,
    )


def _limits(engine: Engine, options: EngineOptions, before: Limits | None) -> Limits | None:
    """Measure the limits of 8-bit products where they are ours; keep the best so far."""
    if engine.quantization != "int8" or not native.multiplies():
        return None
    found = measure_limits(options.threads)
    return found if before is None else found.best(before)


def _add_shares(rows: Sequence[dict[str, Any]], limits: Limits | None, work: Work) -> None:
    """Say of the base's greedy rows how near they come to the limits; in place."""
    for row in rows:
        if limits is not None and row["engine"] == "base" and row["beam"] == 1:
            row |= work.shares(limits, row["tokens_per_s"], row["batch"])


def _gpu(device: torch.device) -> str | None:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def _place_all(engine: Engine, adapters: Sequence[RandomAdapter]) -> None:
    """Fill every slot; neighbouring slots hold different kinds and different weights."""
    hosts = [engine.read_adapter(adapter.folder) for adapter in adapters]
    for slot in range(1, engine.slots + 1):
        engine.place(slot, hosts[(slot - 1) % len(hosts)])


def _runners(engine: Engine, options: EngineOptions) -> dict[str, Runner]:
    def base(batch: int, beam: int) -> None:
        _translate(engine, options.work, batch, beam, [0])

    def mixed(batch: int, beam: int) -> None:
        count = min(options.adapters or batch, engine.slots)
        _translate(engine, options.work, batch, beam, range(1, count + 1))

    lists = random_shortlists(options.languages, options.pieces, engine.architecture.vocab_size)

    def listed(batch: int, beam: int) -> None:
        _translate(engine, options.work, batch, beam, [0], lists)

    runners: dict[str, Runner] = {"base": base, "mixed": mixed}
    return runners | {"listed": listed} if lists else runners


def _translate(
    engine: Engine,
    work: Workload,
    batch: int,
    beam: int,
    slots: Sequence[int],
    shortlists: Sequence[Shortlist | None] = (None,),
) -> None:
    for one in engine.translate(work.requests(batch, beam, slots, shortlists)):
        if one.error is not None:
            raise one.error
        length = len(one.hypotheses[0].token_ids) + one.hypotheses[0].finished
        assert length == work.target_tokens, f"{length} tokens, not {work.target_tokens}"


def _start_peers(
    engine: Engine,
    options: EngineOptions,
    base: Base,
    folder: Path,
    say: Callable[[str], None],
    stack: ExitStack,
) -> dict[str, Runner]:
    runners: dict[str, Runner] = {}
    for name in options.against:
        say(f"preparing {name}")
        peer = PeerProcess(
            name,
            base.folder,
            folder,
            options.work,
            engine.quantization,
            options.threads,
            str(engine.device),
        )
        stack.callback(peer.close)
        runners[name] = peer
    return runners


def _describe(engine: Engine, options: EngineOptions, base: Base) -> dict[str, Any]:
    return {
        "dims": options.dims,
        "parameters": base.parameters,
        "quantization": engine.quantization,
        "device": str(engine.device),
        "source_tokens": options.work.source_tokens,
        "target_tokens": options.work.target_tokens,
        "adapters": options.adapters or "distinct",
        "kinds": list(options.kinds),
        "budget": options.budget,
        "rounds": options.rounds,
        "languages": options.languages,
        "pieces": options.pieces if options.languages else 0,
    }
