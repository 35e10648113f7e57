"""What the server needs of the engine: the seam at which tests may put another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from hub.engine.requests import DecodeRequest, StepReport
from hub.manifest import AdapterManifest
from server.batching.intake import Intake
from server.messages import Job, Outcome


class HostAdapter(Protocol):
    """An adapter in host memory, checked and ready to be placed."""

    @property
    def nbytes(self) -> int:
        """Return the bytes it takes, here and in a slot."""


Adapter = TypeVar("Adapter", bound=HostAdapter)


class EnginePort(Protocol[Adapter]):
    """The engine, as its one thread drives it; only `read_adapter` may be called elsewhere."""

    def read_adapter(self, folder: Path, manifest: AdapterManifest | None) -> Adapter:
        """Read and check an adapter; thread-safe."""

    def place(self, slot: int, adapter: Adapter) -> None:
        """Copy an adapter into a free slot, from 1."""

    def clear(self, slot: int) -> None:
        """Free a slot."""

    def admit(self, requests: Sequence[DecodeRequest]) -> None:
        """Let requests join the batch."""

    def step(self, encode_seconds: float) -> StepReport:
        """Run one step of everything admitted.

        Args:
            encode_seconds: How long rows that are running may wait for encoding; what is left
                of it goes on in the next step.
        """

    def cancel(self, keys: Sequence[int]) -> object:
        """Drop requests, freeing their rows."""


class JobRunner(Protocol):
    """What the translator needs of the worker.

    Attributes:
        intake: Tells what may be submitted, before anything is spent on it.
    """

    intake: Intake

    def submit(self, jobs: Sequence[Job], deliver: Callable[[Outcome], None]) -> None:
        """Accept jobs, all or none; each is delivered exactly once, on another thread."""

    def withdraw(self, keys: Sequence[int]) -> None:
        """Cancel jobs; each is still delivered."""
