"""From the registry into host memory, in parallel, never on the engine thread.

The host tier (`server.residency.tables`) asks for a digest once until its load has ended. A load
that fails, fails the requests that wait for it and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier, BrokenBarrierError
from typing import Final, Generic, Protocol

from hub.errors import EngineError, HubError
from hub.registry import AdapterVersion
from server.faults import as_hub_error
from server.protocols import Adapter

_START_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Adapter]):
    """How a load ended: exactly one of adapter and error is set."""

    digest: str
    adapter: Adapter | None
    error: HubError | None
    seconds: float


class AdapterLoader(Protocol[Adapter]):
    """Starts loads that report when they end, from any thread."""

    def start(self, digest: str, report: Callable[[Loaded[Adapter]], None]) -> None:
        """Begin to load an adapter."""

    def close(self) -> None:
        """Begin no further loads; those running may end unreported."""


class PoolLoader(Generic[Adapter]):
    """Loads adapters in a pool of threads."""

    def __init__(
        self,
        resolve: Callable[[str], AdapterVersion],
        read: Callable[[AdapterVersion], Adapter],
        threads: int,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the pool; when this returns, all its threads are there and prepared.

        Args:
            resolve: Digest → version, as `Registry.resolve`.
            read: Version → checked adapter in host memory.
            threads: Loads that run at once.
            prepare: Called once in each thread, such as to keep it from taking every core.

        Raises:
            EngineError: A thread could not be started or prepared.
        """
        self._resolve = resolve
        self._read = read
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="adapter-loader")
        self._prepare_threads(threads, prepare)

    def _prepare_threads(self, threads: int, prepare: Callable[[], None]) -> None:
        """Give every thread of the pool one task, none of which ends before all have begun."""
        everyone = Barrier(threads + 1, timeout=_START_SECONDS)
        failures: list[Exception] = []

        def begin() -> None:
            try:
                prepare()
            except Exception as error:
                failures.append(error)
                everyone.abort()
            else:
                everyone.wait()

        try:
            for _ in range(threads):
                self._pool.submit(begin)
            everyone.wait()
        except RuntimeError as error:  # also what a broken barrier raises
            everyone.abort()
            self.close()
            raise _not_started(threads, failures[0] if failures else error) from error

    def start(self, digest: str, report: Callable[[Loaded[Adapter]], None]) -> None:
        """Begin to load an adapter; `report` is called from a thread of the pool."""
        self._pool.submit(self._load, digest, report)

    def close(self) -> None:
        """Begin no further loads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _load(self, digest: str, report: Callable[[Loaded[Adapter]], None]) -> None:
        began = time.perf_counter()
        adapter: Adapter | None = None
        error: HubError | None = None
        try:
            adapter = self._read(self._resolve(digest))
        except Exception as caught:
            error = as_hub_error(caught, f"loading {digest}")
        report(Loaded(digest, adapter, error, time.perf_counter() - began))


def _not_started(threads: int, cause: Exception) -> EngineError:
    if isinstance(cause, BrokenBarrierError):
        why = f"they were not ready after {_START_SECONDS:g} s"
    else:
        why = f"{type(cause).__name__}: {cause}"
    return EngineError(
        f"the {threads} threads that load adapters could not be started: {why}; "
        "start the server again when the machine has threads and time to spare"
    )
