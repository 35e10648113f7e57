"""Calls in flight: as many at once as keep a server busy, their results in order.

One call at a time leaves the server idle while its last sentences finish and while the answer
travels. With a few at once its batch is always full. The window is bounded, so a file of any length
takes the same memory.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Generic, TypeVar

CALLS: Final = 4
"""With batches of 64, what keeps a server's batch of 64 rows full."""

_Batch = TypeVar("_Batch")
_Result = TypeVar("_Result")


def in_order(
    batches: Iterable[_Batch], work: Callable[[_Batch], _Result], calls: int = CALLS
) -> Iterator[tuple[_Batch, _Result]]:
    """Yield batches with their results, in order.

    Batches are taken on a thread of their own, which waits for input while results that are ready
    are yielded. At most twice as many as calls are taken and not yet yielded.

    Args:
        batches: Taken one by one.
        work: Called on threads.
        calls: How many run at once.

    Raises:
        BaseException: What `batches` or `work` raised, in its place.
    """
    feed = _Feed(batches, work, calls)
    feed.start()
    try:
        while (entry := feed.entries.get()) is not None:
            batch, future = entry
            yield batch, future.result()
            feed.room.release()
    finally:
        feed.stop()


class _Feed(Generic[_Batch, _Result]):
    """Takes batches and starts their calls."""

    def __init__(
        self, batches: Iterable[_Batch], work: Callable[[_Batch], _Result], calls: int
    ) -> None:
        self.entries: queue.SimpleQueue[tuple[_Batch, Future[_Result]] | None] = queue.SimpleQueue()
        self.room = threading.Semaphore(2 * calls)
        self._batches = batches
        self._work = work
        self._pool = ThreadPoolExecutor(calls, thread_name_prefix="call")
        self._stopped = False

    def start(self) -> None:
        # A daemon: it may wait for input that never comes.
        threading.Thread(target=self._run, name="input", daemon=True).start()

    def stop(self) -> None:
        """Take no more; calls that run are left to their client."""
        self._stopped = True
        self.room.release()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        try:
            for batch in self._batches:
                self.room.acquire()
                if self._stopped:
                    return
                self.entries.put((batch, self._pool.submit(self._work, batch)))
        except BaseException as error:
            if not self._stopped:
                self._fail(error)
        self.entries.put(None)

    def _fail(self, error: BaseException) -> None:
        failed: Future[_Result] = Future()
        failed.set_exception(error)
        self.entries.put((None, failed))  # type: ignore[arg-type]
