"""The settings of a process as TOML: every value, where it came from, no secret.

What is written can be read again as hub.toml and gives the same settings. A secret is left out
rather than masked, because a mask would be read as its value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import tomli_w
from pydantic import SecretStr

from hub.console import printable
from hub.settings import EffectiveSettings, Settings

SECRET: Final = "secret"
"""Key of a setting's `json_schema_extra` that keeps its value from being shown."""

# As SQLAlchemy and libpq read URLs: a password may hold a slash, or be a parameter.
_PASSWORD: Final = re.compile(
    r"://[^@\s]*:[^@\s]*@|[?&][^=&\s]*(?:pass|pwd|secret|token|key)[^=&\s]*=", re.I
)


def settings_toml(effective: EffectiveSettings) -> str:
    """Return all settings as a TOML document with the source of each as a comment."""
    return "".join(f"{line}\n" for line in _lines(effective))


def _lines(effective: EffectiveSettings) -> Iterator[str]:
    read = f" and {printable(str(effective.file))}" if effective.file else ""
    yield f"# Effective settings: flags, environment{read}, defaults."
    for name in Settings.model_fields:
        value = getattr(effective.settings, name)
        source = _one_line(effective.sources.get(name, "default"))
        if value is None:
            yield f"# {name} is not set  ({source})"
        elif _is_secret(name, value):
            yield f"# {name} is set and not shown  ({source})"
        else:
            yield f"{tomli_w.dumps({name: _plain(value)}).strip()}  # {source}"


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())


def _is_secret(name: str, value: object) -> bool:
    extra = Settings.model_fields[name].json_schema_extra
    marked = isinstance(extra, dict) and bool(extra.get(SECRET))
    return marked or isinstance(value, SecretStr) or bool(_PASSWORD.search(str(value)))


def _plain(value: object) -> Any:
    """Return a value of a setting as one that TOML has."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)  # ByteSize is an int of its own
    return value
