"""The settings that take effect while the server runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from hub.settings import Settings

LIVE: Final = (
    "drain_seconds", "log_labels", "log_texts", "max_beam", "max_content_characters",
    "max_contents", "max_source_tokens", "search",
)  # fmt: skip
"""Limits on one request and what is logged; everything else takes a restart."""

_log = logging.getLogger("adapterhub.server")


class LiveSettings:
    """The settings in force, and how they are read again."""

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        apply: Callable[[Settings], None],
    ) -> None:
        """Begin with the settings that the server was started with.

        Args:
            settings: What is in force.
            read: Gathers them again from where they came from; raises SettingsError.
            apply: Puts them in force.
        """
        self._settings = settings
        self._read = read
        self._apply = apply

    def reload(self) -> None:
        """Put the live ones in force, and name those that wait for a restart.

        Raises:
            SettingsError: They cannot be read; nothing has changed then.
        """
        found = self._read()
        waiting = _changed(self._settings, found, set(Settings.model_fields) - set(LIVE))
        live = _changed(self._settings, found, set(LIVE))
        settings = self._settings.model_copy(update={name: getattr(found, name) for name in LIVE})
        self._apply(settings)
        self._settings = settings
        if live:
            _log.info("settings in force now: %s", ", ".join(live))
        if waiting:
            _log.warning("settings that were changed and take a restart: %s", ", ".join(waiting))


def _changed(before: Settings, after: Settings, names: set[str]) -> list[str]:
    return sorted(name for name in names if getattr(before, name) != getattr(after, name))
