"""The server's log on standard error: lines for people, or one JSON object a line.

Everything goes through stdlib logging. What a line knows beside its message travels as
`extra=fields(...)`; a line that is written while a call is served also carries the call's id.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from hub.console import note, printable
from hub.errors import HubError
from server.telemetry.calls import current_call

_FIELDS: Final = "hub_fields"
_WORD_LIMIT: Final = 200
"""Characters of one value in a line for people."""
_SEPARATORS: Final = frozenset(' "=')
_NUMBERS: Final = frozenset({int, float})

_log = logging.getLogger("adapterhub.server")


def fields(**known: object) -> dict[str, object]:
    """Return `extra` for a log call: named facts beside the message."""
    return {_FIELDS: known}


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object: time, level, logger, message, then its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of ASCII, whatever the texts in it are."""
        line: dict[str, object] = {
            "time": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Writes a record for people: time, level, message, then its fields as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback of an error below it."""
        words = [f"{key}={_word(value)}" for key, value in _fields_of(record).items()]
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        begin = (
            f"{stamp},{int(record.msecs):03} {record.levelname} {printable(record.getMessage())}"
        )
        line = " ".join([begin, *words])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure_logging(log_format: str, level: str = "info", stream: TextIO | None = None) -> None:
    """Send the log of this process to one stream, replacing what was set up before.

    Args:
        log_format: "text" or "json".
        level: Least level that is logged.
        stream: Standard error by default.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)


class Announcer:
    """Tells how the server starts and stops: notes for people, or events in the JSON log."""

    def __init__(self, log_format: str) -> None:
        self._as_json = log_format == "json"

    def say(self, event: str, text: str, **known: object) -> None:
        """Tell one event.

        Args:
            event: Its name, such as "draining".
            text: The line for people.
            known: Facts for the JSON log.
        """
        if self._as_json:
            _log.info("%s", text, extra=fields(event=event, **known))
        else:
            note(text)

    def table(self, event: str, rows: Mapping[str, str]) -> None:
        """Tell named facts: a line each, or one event that has them all."""
        if self._as_json:
            keys = {name.replace(" ", "_").lower(): value for name, value in rows.items()}
            _log.info("%s", event, extra=fields(event=event, **keys))
            return
        for name, value in rows.items():
            note(f"{name:<18}{value}")

    def failed(self, error: HubError) -> bool:
        """Tell why the server ends, as an event; return False where the log is not for programs."""
        if self._as_json:
            known = {"event": "failed", "code": error.code, "reason": error.reason}
            _log.error("%s", error.message, extra=fields(**known))
        return self._as_json


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    found: Mapping[str, Any] = getattr(record, _FIELDS, {})
    call = current_call()
    if call is None or "request_id" in found:
        return dict(found)
    return {**found, "request_id": call.request_id}


def _rfc3339(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _word(value: object) -> str:
    """Return a value as one word; what has blanks or quotes in it is written as JSON."""
    if isinstance(value, str):
        text = _short(value)
        plain = text and text.isprintable() and _SEPARATORS.isdisjoint(text)
        return text if plain else printable(json.dumps(text, ensure_ascii=False))
    if type(value) in _NUMBERS:
        return repr(value)
    return printable(_short(json.dumps(value, ensure_ascii=False, default=str)))


def _short(text: str) -> str:
    return text if len(text) <= _WORD_LIMIT else text[:_WORD_LIMIT] + "…"
