"""Where post-edits are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from hub.errors import SettingsError
from hub.registry.database import shown_url, sqlite_url
from hub.registry.registry import local_root
from hub.settings import Settings

FILE: Final = "feedback.sqlite3"
OFF: Final = "off"


def feedback_url(settings: Settings) -> str:
    """Return where post-edits are kept: the setting, or a file in the registry's folder.

    It is a URL, or the path of a SQLite file, as `FeedbackStore` takes it.

    Raises:
        SettingsError: Post-edits are switched off, or the registry is not a local folder.
    """
    if settings.feedback_url == OFF:
        raise SettingsError(
            "post-edits are switched off: feedback_url is 'off'; name a database, or leave it out",
            field="feedback_url",
        )
    if settings.feedback_url:
        return settings.feedback_url
    return str(local_root(settings.registry) / FILE)


def parsed_url(url: str) -> URL:
    """Read a URL, or the path of a SQLite file.

    Raises:
        SettingsError: It is no URL of a database.
    """
    if "://" not in url:
        return sqlite_url(Path(url).expanduser())
    try:
        return make_url(url)
    except ArgumentError:
        raise SettingsError(
            "feedback_url is no URL of a database; use one such as "
            "postgresql+psycopg://user@host/database, or the path of a SQLite file",
            field="feedback_url",
        ) from None


def shown(url: str) -> str:
    """Return where a store is, without its password.

    Raises:
        SettingsError: The URL is not one.
    """
    return shown_url(parsed_url(url))
