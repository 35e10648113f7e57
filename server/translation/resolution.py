"""What refs mean, kept until the registry changes.

A request resolves its ref here, so that the registry is not read for every request. Whoever learns
that the registry has changed calls `invalidate`: the watcher (`server.translation.watching`) for
what other processes do, and the calls of this server that move an alias for what they did.

Pure: no clock and no registry of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

from hub.errors import HubError
from hub.registry import AdapterVersion

MAX_REFS: Final = 4096


class ResolveCache:
    """Ref → version, for the refs used of late; safe to share between threads.

    A ref that nothing answers to is not kept: the next request asks again.

    Attributes:
        changed: Called after every invalidation, on the thread that invalidated.
    """

    def __init__(self, resolve: Callable[[str], AdapterVersion], limit: int = MAX_REFS) -> None:
        """Keep up to `limit` answers of `resolve`, which raises HubError."""
        self.changed: list[Callable[[], None]] = []
        self._resolve = resolve
        self._limit = limit
        self._kept: OrderedDict[str, AdapterVersion] = OrderedDict()  # least recently used first
        self._epoch = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def knows(self, ref: str) -> bool:
        """Tell whether a ref can be resolved now without asking the registry."""
        return ref in self._kept

    def resolve(self, ref: str) -> AdapterVersion:
        """Return the version that a ref means, as of the last invalidation or later.

        Raises:
            HubError: As the registry does.
        """
        with self._lock:
            version = self._kept.get(ref)
            epoch = self._epoch
            if version is not None:
                self._kept.move_to_end(ref)
                return version
        version = self._resolve(ref)
        with self._lock:
            if epoch == self._epoch:  # else the answer may be from before the change
                self._kept[ref] = version
                if len(self._kept) > self._limit:
                    self._kept.popitem(last=False)
        return version

    def invalidate(self) -> None:
        """Forget everything: the registry has changed.

        Raises:
            HubError: One of those who wanted to know could not take it in; the others have.
        """
        with self._lock:
            self._epoch += 1
            self._kept.clear()
        failed: HubError | None = None
        for callback in self.changed:
            try:
                callback()
            except HubError as error:
                failed = failed or error
        if failed is not None:
            raise failed
