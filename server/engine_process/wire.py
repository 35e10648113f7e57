"""What the server and its engine's process say to each other.

One starts the other, from the same files on the same machine, and nobody else is on the line: so
messages are pickled. Those of every step are written as plain tuples, which is faster by far than
pickling dataclasses.

A list of a language's tokens may have tens of thousands: it goes over once, and has a number.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from multiprocessing.connection import Connection
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from hub.engine.requests import (
    DecodeRequest,
    DecodingOptions,
    Finished,
    Hypothesis,
    StepReport,
)
from hub.engine.shortlists import Shortlist

MODULE: Final = "server.engine_process.child"

PackedRequest = tuple[Any, ...]
PackedReport = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine is started with; all as in `Engine.load`, but for the following.

    Attributes:
        folder: Of the base, with `origin`, `commit` and `cache` as `Base` has them.
        niceness: Of the process.
    """

    name: str
    folder: Path
    origin: Path | None
    commit: str
    cache: Path | None
    quantization: str
    slots: int
    max_rows: int
    threads: int | None
    device: str
    table_bytes: int
    niceness: int


@dataclass(frozen=True, slots=True)
class Started:
    """What became of an engine's options.

    Attributes:
        base_bytes: Memory that the base takes.
    """

    quantization: str
    device: str
    base_bytes: int


class EngineFaultError(Exception):
    """What went wrong in the engine's process and is none of our errors, with its traceback."""


def send(connection: Connection, message: object) -> None:
    """Write a message."""
    connection.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


def receive(connection: Connection) -> Any:
    """Wait for a message.

    Raises:
        EOFError: The other side is gone.
    """
    return pickle.loads(connection.recv_bytes())


def _names(kind: type, *without: str) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind) if one.name not in without)


_OPTIONS: Final[Callable[[Any], tuple[Any, ...]]] = attrgetter(*_names(DecodingOptions))
_REQUEST_NAMES: Final = _names(DecodeRequest, "options", "shortlist")
_REQUEST: Final[Callable[[Any], tuple[Any, ...]]] = attrgetter(*_REQUEST_NAMES)
_HYPOTHESIS: Final[Callable[[Any], tuple[Any, ...]]] = attrgetter(*_names(Hypothesis))
_FINISHED_NAMES: Final = _names(Finished, "hypotheses")
_KEY: Final = _FINISHED_NAMES.index("key")
_FINISHED: Final[Callable[[Any], tuple[Any, ...]]] = attrgetter(*_FINISHED_NAMES)
_REPORT_NAMES: Final = _names(StepReport, "finished")
_REPORT: Final[Callable[[Any], tuple[Any, ...]]] = attrgetter(*_REPORT_NAMES)


def pack_request(request: DecodeRequest, listed: int | None) -> PackedRequest:
    """Write a request; `listed` is the number of its shortlist, None where it has none."""
    return (_REQUEST(request), _OPTIONS(request.options), listed)


def unpack_requests(
    packed: Iterable[PackedRequest], shortlists: Sequence[Shortlist]
) -> list[DecodeRequest]:
    """Read requests."""
    return [
        DecodeRequest(
            **_named(_REQUEST_NAMES, values),
            options=DecodingOptions(*options),
            shortlist=None if listed is None else shortlists[listed],
        )
        for values, options, listed in packed
    ]


def pack_report(report: StepReport) -> PackedReport:
    """Write what a step did."""
    finished = [
        (_FINISHED(one), [_HYPOTHESIS(each) for each in one.hypotheses]) for one in report.finished
    ]
    return (_REPORT(report), finished)


def drop_finished(packed: PackedReport, keys: frozenset[int]) -> PackedReport:
    """Return what a step did, without the ends of some requests."""
    values, finished = packed
    return (values, [one for one in finished if one[0][_KEY] not in keys])


def unpack_report(packed: PackedReport) -> StepReport:
    """Read what a step did."""
    values, finished = packed
    return StepReport(
        finished=[_unpack_finished(*one) for one in finished],
        **_named(_REPORT_NAMES, values),
    )


def _unpack_finished(values: Sequence[Any], hypotheses: Iterable[Sequence[Any]]) -> Finished:
    found = tuple(Hypothesis(*one) for one in hypotheses)
    return Finished(hypotheses=found, **_named(_FINISHED_NAMES, values))


def _named(names: Sequence[str], values: Sequence[Any]) -> Mapping[str, Any]:
    return dict(zip(names, values, strict=True))
