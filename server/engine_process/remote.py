"""The server's side of an engine that runs in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from hub.bases import Base
from hub.engine.adapters import HostAdapter
from hub.engine.devices import find_device
from hub.engine.forms import flatten
from hub.engine.precisions import find_precision
from hub.engine.reading import CheckedReader
from hub.engine.requests import DecodeRequest, StepReport
from hub.engine.shortlists import Shortlist
from hub.errors import EngineError
from hub.manifest import AdapterManifest
from server.engine_process.wire import (
    MODULE,
    EngineOptions,
    Started,
    drop_finished,
    pack_request,
    receive,
    send,
    unpack_report,
)

STOP_SECONDS: Final = 10.0


_Answer = tuple[bool, Any]
"""Whether it was done, and the answer, or else the error."""


class EngineGoneError(Exception):
    """The engine's process has ended; nothing but another server can mend that."""


class RemoteEngine:
    """An engine elsewhere, driven as if it were here: `server.protocols.EnginePort`.

    Adapters are read here, off the engine's process, which needs no more than their numbers.

    The engine does not wait while its server looks at a step's results: the next step is asked for
    before they are handed out, so what joins or is cancelled does so a step later. What comes back
    comes in the order in which it was asked for.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], connection: Connection, base: Base, started: Started
    ) -> None:
        """Take a process that has loaded; `start_engine` starts one."""
        self._process = process
        self._connection = connection
        self._shortlists: dict[Shortlist, int] = {}
        self._running: set[int] = set()  # keys, as far as reports were handed out
        self._reports: deque[_Answer] = deque()  # received, and not handed out
        self._asked = 0  # steps without an answer so far
        self._encode_seconds = 0.0
        precision = find_precision(started.quantization, find_device(started.device))
        self._reader = CheckedReader.of(base, precision)

    @property
    def pid(self) -> int:
        """Return the process."""
        return self._process.pid

    def read_adapter(self, folder: Path, manifest: AdapterManifest | None = None) -> HostAdapter:
        """Read an adapter; raises as `CheckedReader.read`."""
        return self._reader.read(folder, manifest)

    def place(self, slot: int, adapter: HostAdapter) -> None:
        """Copy an adapter into a slot; raises as `Engine.place`."""
        form, data = flatten(adapter)
        self._ask("place", slot, form, then=data.numpy().data)

    def clear(self, slot: int) -> None:
        """Free a slot; raises as `Engine.clear`."""
        self._ask("clear", slot)

    def admit(self, requests: Sequence[DecodeRequest]) -> None:
        """Let requests join the batch; raises as `Engine.admit`."""
        packed = [pack_request(one, self._number_of(one.shortlist)) for one in requests]
        self._ask("admit", packed, on=bool(self._running))
        self._running.update(one.key for one in requests)

    def step(self, encode_seconds: float) -> StepReport:
        """Return what the next step did; as `Engine.step`."""
        self._encode_seconds = encode_seconds
        if not self._reports:
            if not self._asked:
                self._ask_for_step()
            self._receive_step()
        done, answer = self._reports.popleft()
        if not done:
            self._forget_steps()
            raise answer
        report = unpack_report(answer)
        self._running.difference_update(one.key for one in report.finished)
        if self._running and not self._asked and not self._reports:
            self._ask_for_step()
        return report

    def cancel(self, keys: Sequence[int]) -> None:
        """Drop requests; those that have ended unseen stay unseen."""
        self._running.difference_update(keys)
        self._ask("cancel", list(keys), on=bool(self._running))
        gone = frozenset(keys)
        self._reports = deque(_without(one, gone) for one in self._reports)

    def watch(self, ended: Callable[[], None]) -> None:
        """Have a function called, on a thread of its own, when the process has ended."""

        def wait() -> None:
            self._process.wait()
            ended()

        threading.Thread(target=wait, name="engine-watcher", daemon=True).start()

    def close(self) -> None:
        """End the process. Blocks until it has."""
        self._connection.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _number_of(self, shortlist: Shortlist | None) -> int | None:
        if shortlist is None:
            return None
        number = self._shortlists.get(shortlist)
        if number is None:
            self._ask("listed", shortlist.ids.tobytes())
            number = self._shortlists[shortlist] = len(self._shortlists)
        return number

    def _ask(
        self, name: str, *arguments: object, then: memoryview | None = None, on: bool = False
    ) -> Any:
        """Have something done and wait for it.

        Args:
            name: What, as the engine's process names it.
            arguments: Of it.
            then: Bytes that follow.
            on: Have the engine go on with a step at once, unless one is asked for.

        Raises:
            EngineGoneError: The process has ended.
            Exception: As the engine raises.
        """
        before = self._asked
        self._send(name, *arguments, then=then)
        if on:
            self._ask_for_step()
        for _ in range(before):
            self._receive_step()
        done, answer = self._receive()
        if not done:
            raise answer
        return answer

    def _ask_for_step(self) -> None:
        self._send("step", self._encode_seconds)
        self._asked += 1

    def _receive_step(self) -> None:
        self._reports.append(self._receive())
        self._asked -= 1

    def _forget_steps(self) -> None:
        """Drop what was asked for before it was known that a step failed."""
        while self._asked:
            self._receive_step()
        self._reports.clear()

    def _send(self, name: str, *arguments: object, then: memoryview | None = None) -> None:
        with self._gone_told():
            send(self._connection, (name, arguments, 0 if then is None else then.nbytes))
            if then is not None and then.nbytes:
                self._connection.send_bytes(then)

    def _receive(self) -> _Answer:
        with self._gone_told():
            answer: _Answer = receive(self._connection)
        return answer

    @contextmanager
    def _gone_told(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            raise EngineGoneError(f"the engine's process {self._fate()}") from error

    def _fate(self) -> str:
        try:
            return f"has ended with exit code {self._process.wait(1.0)}"
        except subprocess.TimeoutExpired:
            return "does not answer any more"


def _without(report: _Answer, keys: frozenset[int]) -> _Answer:
    """Return a step's report without what is said of some requests."""
    done, answer = report
    return (done, drop_finished(answer, keys)) if done else report


def start_engine(base: Base, options: EngineOptions) -> tuple[RemoteEngine, Started]:
    """Start a process with an engine, and wait until it has loaded.

    Raises:
        HubError: As `Engine.load`.
        EngineError: The process ended before it had loaded.
    """
    here, there = socket.socketpair()
    with there:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(there.fileno())],
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    connection = Connection(here.detach())
    try:
        send(connection, options)
        loaded, answer = receive(connection)
        if not loaded:
            raise answer
        return RemoteEngine(process, connection, base, answer), answer
    except (EOFError, OSError) as error:
        code = process.wait(STOP_SECONDS)
        raise EngineError(
            f"the engine's process ended with exit code {code} before it had loaded the base; "
            "its messages say why"
        ) from error
    except BaseException:
        connection.close()
        process.wait(STOP_SECONDS)
        raise
