"""A `hub serve` process that lives as long as a `with` block."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hub.demo.commands import CommandFailedError

_STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Addresses:
    """Where a running server listens, as "host:port"."""

    grpc: str
    metrics: str


@contextmanager
def running_server(command: Sequence[str]) -> Iterator[Addresses]:
    """Start a server, wait until it says that it is ready, and stop it at the end.

    Raises:
        CommandFailedError: It ended before it was ready.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        try:
            yield _await_ready(process)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _await_ready(process: subprocess.Popen[str]) -> Addresses:
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event.get("event") == "ready":
            return Addresses(event["grpc"], event["metrics"])
    raise CommandFailedError(f"`hub serve` exited with {process.wait()} before it was ready")
