"""What every door of the server shares: one set of tenants, limits, metrics, traces and logs.

A door translates words and errors of its protocol; everything behind it is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final

from hub.settings import Settings
from server.access.body_room import MAX_BYTES, BodyRoom
from server.access.credentials import open_credentials
from server.access.guard import Guard
from server.core import Core
from server.draining import Calls
from server.telemetry.access import AccessLog
from server.telemetry.metrics import Metrics
from server.telemetry.traces import CallTracer

OPEN_FILES: Final = 8


@dataclass(frozen=True, slots=True)
class Entrance:
    """The shared part of all doors; made on the event loop that serves them.

    Attributes:
        settings: What the server was started with.
        core: Returns what is served; raises UnavailableError while the base is being loaded.
        pool: Threads for what blocks.
        files: Threads for reading and writing files.
        open_files: Files that are held opened at once, each many times as large as its bytes.
        guard: Knows callers, scopes and quotas.
        calls: The calls in progress, of all doors.
        bodies: Room for the bodies of HTTP requests.
        tracer: None where tracing is off.
    """

    settings: Settings
    core: Callable[[], Core]
    pool: Executor
    files: Executor
    metrics: Metrics
    access: AccessLog
    guard: Guard
    tracer: CallTracer | None = None
    calls: Calls = field(default_factory=Calls)
    bodies: BodyRoom = field(default_factory=BodyRoom)
    open_files: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(OPEN_FILES))


def open_entrance(
    settings: Settings,
    core: Callable[[], Core],
    pool: Executor,
    files: Executor,
    metrics: Metrics,
    access: AccessLog,
    tracer: CallTracer | None = None,
) -> Entrance:
    """Read the keys of callers, and gather what doors share.

    Raises:
        SettingsError: Other machines could call and nobody would be asked, or a setting that
            tokens need is missing.
        KeyFileError: The keys cannot be read.
    """
    guard = Guard(open_credentials(settings, pool))
    largest = max(int(settings.max_upload_bytes), int(settings.max_message_bytes))
    bodies = BodyRoom(max(MAX_BYTES, 2 * largest))
    return Entrance(settings, core, pool, files, metrics, access, guard, tracer, bodies=bodies)
