"""The engine's process: `python -m server.engine_process.child DESCRIPTOR`.

It does what it is told over a socket, one message after the other, and ends when the other side is
gone, however that came about. Signals are the server's business, which drains first.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import torch

from hub.bases import Base
from hub.engine.engine import Engine
from hub.engine.forms import ServingForm, restore
from hub.engine.memory import return_freed_memory
from hub.engine.shortlists import Shortlist
from hub.errors import HubError
from server.engine_process.wire import (
    EngineFaultError,
    EngineOptions,
    PackedReport,
    PackedRequest,
    Started,
    pack_report,
    receive,
    send,
    unpack_requests,
)
from server.telemetry.process_memory import resident_bytes


class _Commands:
    """What an engine can be told; the names are those of `EnginePort`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shortlists: list[Shortlist] = []

    def listed(self, tokens: bytes) -> None:
        """Take a shortlist; the first has number 0."""
        self._shortlists.append(Shortlist.of_bytes(tokens))

    def place(self, slot: int, form: ServingForm, data: bytearray) -> None:
        """Place an adapter."""
        self._engine.place(slot, restore(form, torch.frombuffer(data, dtype=torch.uint8)))

    def clear(self, slot: int) -> None:
        """Free a slot."""
        self._engine.clear(slot)

    def admit(self, requests: list[PackedRequest]) -> None:
        """Let requests join the batch."""
        self._engine.admit(unpack_requests(requests, self._shortlists))

    def step(self, encode_seconds: float) -> PackedReport:
        """Run one step."""
        return pack_report(self._engine.step(encode_seconds))

    def cancel(self, keys: list[int]) -> None:
        """Drop requests."""
        self._engine.cancel(keys)


def main() -> None:
    """Load an engine, say so, and obey until the server is gone."""
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    with connection, suppress(EOFError, BrokenPipeError, ConnectionResetError):
        options: EngineOptions = receive(connection)
        try:
            engine, started = _load(options)
        except Exception as error:
            send(connection, (False, _told(error)))
            return
        gc.collect()
        gc.freeze()  # what was loaded stays, and need not be looked through again
        send(connection, (True, started))
        _obey(_Commands(engine), connection)


def _load(options: EngineOptions) -> tuple[Engine, Started]:
    with suppress(OSError):  # not in every container
        os.nice(options.niceness)
    return_freed_memory()
    before = resident_bytes()
    engine = Engine.load(
        Base(options.name, options.folder, options.origin, options.commit, options.cache),
        quantization=options.quantization,
        slots=options.slots,
        max_rows=options.max_rows,
        threads=options.threads,
        device=options.device,
        table_bytes=options.table_bytes,
    )
    taken = engine.device_bytes or max(0, resident_bytes() - before)
    return engine, Started(engine.quantization, str(engine.device), taken)


def _obey(commands: _Commands, connection: Connection) -> None:
    """Do as told, one message after the other; bytes of an adapter follow their message.

    Raises:
        EOFError: The server is gone.
    """
    while True:
        name, arguments, follows = receive(connection)
        if follows:
            arguments = (*arguments, _bytes(connection, follows))
        answer: tuple[bool, Any]
        try:
            answer = (True, getattr(commands, name)(*arguments))
        except Exception as error:
            answer = (False, _told(error))
        send(connection, answer)


def _bytes(connection: Connection, size: int) -> bytearray:
    data = bytearray(size)
    connection.recv_bytes_into(data)
    return data


def _told(error: Exception) -> Exception:
    """Return an error as it can be sent: others than ours may not survive it."""
    if isinstance(error, HubError):
        return error
    return EngineFaultError("".join(traceback.format_exception(error)))


if __name__ == "__main__":
    main()
