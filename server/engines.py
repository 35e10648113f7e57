"""Opening the engine: in this process, or in one of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hub.bases import Base
from hub.bases.tokenizer import BaseTokenizer
from hub.settings import Settings
from server.protocols import EnginePort
from server.telemetry.process_memory import resident_bytes

if TYPE_CHECKING:
    from hub.engine.adapters import HostAdapter

NICENESS: Final = 5
"""Linux has a niceness for each thread. Where the processor is short, the event loop goes first: it
takes little, and what it does not get to in time was computed in vain.
"""


def _nothing_ends(_: Callable[[], None]) -> None:
    """Watch what ends with this process."""


@dataclass(frozen=True, slots=True)
class OpenedEngine:
    """An engine that has loaded its base.

    Attributes:
        quantization: What the setting came to.
        device: What the setting came to.
        base_bytes: Memory that the base takes.
        watch: Has a function called when the engine ends by itself.
        close: Ends it; blocks until it has ended.
    """

    port: EnginePort[HostAdapter]
    quantization: str
    device: str
    base_bytes: int
    watch: Callable[[Callable[[], None]], None] = _nothing_ends
    close: Callable[[], None] = lambda: None


def open_engine(base: Base, tokenizer: BaseTokenizer, settings: Settings) -> OpenedEngine:
    """Load a base into an engine as the settings say. Blocks for as long as that takes.

    Raises:
        HubError: As `Engine.load`, or the engine's process could not be started.
    """
    if settings.engine == "process":
        return _open_apart(base, settings)
    return _open_here(base, tokenizer, settings)


def _open_here(base: Base, tokenizer: BaseTokenizer, settings: Settings) -> OpenedEngine:
    from hub.engine.engine import Engine

    before = resident_bytes()
    engine = Engine.load(
        base,
        quantization=settings.quantization,
        slots=settings.slots,
        max_rows=settings.max_batch_rows,
        threads=settings.threads,
        device=settings.device,
        tokenizer=tokenizer,
        table_bytes=settings.vocabulary_bytes,
    )
    taken = engine.device_bytes or max(0, resident_bytes() - before)
    return OpenedEngine(engine, engine.quantization, str(engine.device), taken)


def _open_apart(base: Base, settings: Settings) -> OpenedEngine:
    from server.engine_process.remote import start_engine
    from server.engine_process.wire import EngineOptions

    options = EngineOptions(
        name=base.name,
        folder=base.folder,
        origin=base.origin,
        commit=base.commit,
        cache=base.cache,
        quantization=settings.quantization,
        slots=settings.slots,
        max_rows=settings.max_batch_rows,
        threads=settings.threads,
        device=settings.device,
        table_bytes=settings.vocabulary_bytes,
        niceness=NICENESS,
    )
    remote, started = start_engine(base, options)
    return OpenedEngine(
        remote, started.quantization, started.device, started.base_bytes, remote.watch, remote.close
    )
