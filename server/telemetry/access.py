"""The access log: one line for every call, when it has ended.

Calls that are refused because there is no room or no time for them are the exception: there may be
thousands a second, so those of a second with the same method, tenant and reason share a line.

It says who asked for what and what that took. Texts, translations and the callers' labels are in it
only where the settings ask for them; metadata, and with it every key, never is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Self

from hub.errors import HubError
from hub.settings import Settings
from server.messages import ItemResult, TranslateCommand, TranslateResult
from server.telemetry.calls import CallRecord, serving
from server.telemetry.logs import fields

LOGGER: Final = "adapterhub.access"
REFUSED_SECONDS: Final = 1.0

_QUIET: Final = ("grpc.health.", "grpc.reflection.")
_FAULTS: Final = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS"})
_MAX_WORD: Final = 200
"""Characters of what a caller wrote: nobody may fill the disk with an adapter's name."""

_log = logging.getLogger(LOGGER)


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """What the access log may tell beside the facts of a call.

    Attributes:
        texts: Whether texts and translations are told.
        labels: Names of the callers' labels that are told.
    """

    texts: bool = False
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings allow."""
        return cls(settings.log_texts, settings.log_labels)


@dataclass(slots=True)
class AccessLog:
    """Writes the lines; `policy` may be replaced at any time."""

    policy: AccessPolicy = AccessPolicy()
    _refused: Counter[tuple[str, str, str, str]] = field(default_factory=Counter, repr=False)

    def refused(self, method: str, error: HubError, tenant: str) -> None:
        """Note a call that is refused at the door; needs a running loop, which writes the lines."""
        if not self._refused:
            asyncio.get_running_loop().call_later(REFUSED_SECONDS, self.flush)
        self._refused[method, error.code, error.reason, tenant] += 1

    def flush(self) -> None:
        """Write the lines of the refused calls."""
        refused, self._refused = self._refused, Counter()
        for (method, code, reason, tenant), calls in refused.items():
            facts: dict[str, object] = {"method": method, "code": code, "reason": reason}
            if tenant:
                facts["tenant"] = tenant
            _log.info("refused", extra=fields(**facts, calls=calls))

    @contextmanager
    def call(self, method: str, metadata: Mapping[str, str]) -> Iterator[CallRecord]:
        """Serve a call within the block; its line is written at the end, however it ends.

        Args:
            method: As in `CallRecord`.
            metadata: The caller's headers by lower-case name.
        """
        record, began = CallRecord.of(method, metadata), time.perf_counter()
        try:
            with serving(record):
                yield record
        finally:
            level = _level(record)
            if _log.isEnabledFor(level):
                seconds = time.perf_counter() - began
                _log.log(level, "request", extra=fields(**self._facts(record, seconds)))

    def _facts(self, record: CallRecord, seconds: float) -> dict[str, object]:
        facts: dict[str, object] = {"method": record.method, "code": record.code}
        if record.error is not None:
            facts["reason"] = record.error.reason
        facts |= {"duration_ms": _milliseconds(seconds), "request_id": record.request_id}
        if record.traceparent:
            facts["traceparent"] = record.traceparent
        command, result = record.command, record.result
        tenant = record.tenant or (command.tenant if command else "")
        if tenant:
            facts["tenant"] = tenant
        if command is not None:
            facts |= self._of_command(command)
        if result is not None:
            facts |= self._of_result(result)
        return facts

    def _of_command(self, command: TranslateCommand) -> dict[str, object]:
        facts: dict[str, object] = {
            "pair": f"{_short(command.source) or 'auto'}-{_short(command.target)}",
            "adapter_requested": _short(command.adapter),
            "items": len(command.contents),
            "characters": sum(map(len, command.contents)),
        }
        if command.domain:
            facts["domain"] = _short(command.domain)
        labels = {
            name: _short(command.labels[name])
            for name in self.policy.labels
            if name in command.labels
        }
        if labels:
            facts["labels"] = labels
        if self.policy.texts:
            facts["texts"] = list(command.contents)
        return facts

    def _of_result(self, result: TranslateResult) -> dict[str, object]:
        items = result.items
        served = [item for item in items if item.error is None or item.adapter_version]
        facts: dict[str, object] = {
            "pair": f"{result.source or 'mixed'}-{result.target}",
            "adapter": _one_or_all(item.adapter_version or "base" for item in served),
            "adapter_digest": _one_or_all(item.adapter_digest for item in served),
            "items_failed": sum(item.error is not None for item in items),
            "input_tokens": sum(item.input_tokens for item in items),
            "output_tokens": sum(item.output_tokens for item in items),
            "stages_ms": _stages(result),
        }
        facts |= _told_of_items(items)
        if self.policy.texts:
            facts["translations"] = [item.text for item in items]
        return facts


def _told_of_items(items: Iterable[ItemResult]) -> dict[str, object]:
    """Return reasons, fallbacks and warnings of items, each where there is one."""
    items = list(items)
    found = {
        "item_reasons": {item.error.reason for item in items if item.error is not None},
        "fallbacks": {item.fallback.value for item in items if item.fallback is not None},
        "warnings": {flag.value for item in items for flag in item.flags},
    }
    return {name: sorted(values) for name, values in found.items() if values}


def _stages(result: TranslateResult) -> dict[str, float]:
    """Return the stages of the call, and the longest of its items in queue, encoder and decoder."""
    timings = [item.timings for item in result.items]
    seconds = {
        **{name: value for name, value in result.stage_seconds.items() if name != "total"},
        "queue": max((one.queue_seconds for one in timings), default=0.0),
        "encode": max((one.encode_seconds for one in timings), default=0.0),
        "decode": max((one.decode_seconds for one in timings), default=0.0),
    }
    return {name: _milliseconds(value) for name, value in seconds.items()}


def _short(word: str) -> str:
    return word if len(word) <= _MAX_WORD else f"{word[: _MAX_WORD - 1]}…"


def _one_or_all(values: Iterable[str]) -> str | list[str]:
    """Return the value that all share, else the distinct ones; [] where there is none."""
    distinct = list(dict.fromkeys(values))
    return distinct[0] if len(distinct) == 1 else distinct


def _level(record: CallRecord) -> int:
    if record.code in _FAULTS:
        return logging.ERROR
    return logging.DEBUG if record.method.startswith(_QUIET) else logging.INFO


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)
