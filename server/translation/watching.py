"""Noticing that the registry has changed, whoever changed it.

One thread looks at a mark of the catalog (`Registry.changes`), which costs no query of SQLite's, a
few times in the time within which a change must be seen. While it cannot look, it calls everything
changed, so that requests ask the registry itself and get its error. A change that could not be
taken in is told again, at looks that lie farther and farther apart.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from hub.registry import Registry
from server.faults import as_hub_error

INTERVAL_SECONDS: Final = 0.5
MOST_LOOKS: Final = 32
"""Between two tries to tell a change that is not taken in."""

_log = logging.getLogger("adapterhub.server")


class RegistryWatcher:
    """Calls back when the catalog of a registry has changed."""

    def __init__(
        self, registry: Registry, changed: Callable[[], None], seconds: float = INTERVAL_SECONDS
    ) -> None:
        """Look at the registry as it is now; `start` goes on looking.

        Args:
            registry: What to watch.
            changed: Called on the watcher's thread.
            seconds: Between two looks.

        Raises:
            HubError: The catalog cannot be read.
        """
        self._changes = registry.changes()
        self._changed = changed
        self._seconds = seconds
        self._blind = False
        self._untaken = ""  # why the last change was not taken in
        self._pause = self._left = 0  # looks until it is told again: of this pause, and left of it
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registry-watcher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and give back its connection."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._changes.close()

    def look(self) -> None:
        """Look once, and call back where something has changed or cannot be seen."""
        try:
            moved = self._changes.moved()
        except Exception as error:
            self._note_blind(as_hub_error(error, "watching the registry").message)
            moved = True
        else:
            self._blind = False
        if moved or self._due():
            self._tell()

    def _due(self) -> bool:
        """Tell whether a change that was not taken in is to be told again."""
        if not self._pause:
            return False
        self._left -= 1
        return self._left <= 0

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            self.look()

    def _tell(self) -> None:
        try:
            self._changed()
        except Exception as error:  # one that cannot take the change in must not end the watch
            why = as_hub_error(error, "taking in a change of the registry").message
            if why != self._untaken:
                _log.warning("a change of the registry was not taken in: %s", why)
            self._untaken = why
            self._pause = self._left = min(MOST_LOOKS, max(1, 2 * self._pause))
        else:
            self._untaken, self._pause = "", 0

    def _note_blind(self, why: str) -> None:
        if not self._blind:
            _log.warning("the registry cannot be watched, so every request reads it: %s", why)
        self._blind = True
