"""What can be read again while the server runs: on SIGHUP, or when its files change.

Whoever has something of the kind registers it: a name, the files it comes from, and a function that
reads them and puts the new state in place of the old in one assignment. A function that fails must
leave the old state alone; its error goes to the log with the reason, and the server goes on.

    hub.register("routes", lambda: [path], reload_routes)

A file that has changed is read once it has looked the same twice, so that one which is being
written is left alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from server.faults import as_hub_error
from server.telemetry.metrics import Metrics

INTERVAL_SECONDS: Final = 1.0

_Stamp = tuple[int, ...] | None
_Stamps = tuple[tuple[Path, _Stamp], ...]

_log = logging.getLogger("adapterhub.server")


@dataclass(slots=True)
class _Part:
    """Something that can be read again.

    Attributes:
        files: Returns what it is read from now; none for what only SIGHUP reads again.
        loaded: The files as they were when they were read last.
        seen: The files as they were at the last look.
    """

    what: str
    files: Callable[[], Iterable[Path]]
    reload: Callable[[], None]
    loaded: _Stamps
    seen: _Stamps

    @property
    def settled(self) -> bool:
        """Look at the files; tell whether they have changed and then stayed the same."""
        before, self.seen = self.seen, _stamps(self.files())
        return self.seen == before and self.seen != self.loaded


class ReloadHub:
    """The parts of one server that can be read again."""

    def __init__(self, metrics: Metrics, seconds: float = INTERVAL_SECONDS) -> None:
        """Begin with nothing.

        Args:
            metrics: Counts reloads by part and outcome.
            seconds: Between two looks at the files.
        """
        self._metrics = metrics
        self._seconds = seconds
        self._parts: dict[str, _Part] = {}
        self._lock = Lock()
        self._watch: asyncio.Task[None] | None = None

    def register(
        self, what: str, files: Callable[[], Iterable[Path]], reload: Callable[[], None]
    ) -> None:
        """Add a part, whose state is as its files are now.

        Args:
            what: Its name, a label of the metrics: "routes", "keys", "certificates".
            files: Returns the files that it is read from; those that are missing count, too.
            reload: Reads them; called on a thread of the pool, one part at a time. Raises where
                they cannot be used.
        """
        assert what not in self._parts, f"registered twice: {what}"
        stamps = _stamps(files())
        self._parts[what] = _Part(what, files, reload, stamps, stamps)
        for outcome in ("ok", "failed"):
            self._metrics.reloads.labels(what, outcome)

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the names of what can be read again."""
        return tuple(self._parts)

    def reload_all(self) -> None:
        """Read every part again. Blocks."""
        with self._lock:
            for part in self._parts.values():
                self._reload(part)

    def look(self) -> None:
        """Read the parts again whose files have changed. Blocks."""
        with self._lock:
            for part in self._parts.values():
                try:
                    settled = part.settled
                except OSError as error:
                    _log.warning("files of %s cannot be looked at: %s", part.what, error)
                    continue
                if settled:
                    self._reload(part)

    def start(self, pool: Executor) -> None:
        """Look at the files again and again, on threads of the pool; needs a running loop."""
        self._watch = asyncio.get_running_loop().create_task(self._keep_looking(pool))

    async def stop(self) -> None:
        """Look no more."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
            self._watch = None

    async def _keep_looking(self, pool: Executor) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await asyncio.get_running_loop().run_in_executor(pool, self.look)

    def _reload(self, part: _Part) -> None:
        stamps = _stamps(part.files())
        try:
            part.reload()
        except Exception as error:
            why = as_hub_error(error, f"reloading {part.what}").message
            _log.error("%s not reloaded, what was there stays: %s", part.what, why)
            outcome = "failed"
        else:
            _log.info("%s reloaded", part.what)
            outcome = "ok"
        part.loaded = part.seen = stamps  # a bad file is tried again when it changes again
        self._metrics.reloads.labels(part.what, outcome).inc()


def _stamps(files: Iterable[Path]) -> _Stamps:
    return tuple((file, _stamp(file)) for file in files)


def _stamp(file: Path) -> _Stamp:
    """Return what changes when a file is written or another takes its place, None without it."""
    try:
        found = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)
