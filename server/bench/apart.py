"""A peer in a process of its own: see `hub.bench.apart`."""

from __future__ import annotations

from pathlib import Path

from hub.bench.apart import ApartProcess
from server.bench.peers import PEERS, Runner
from server.bench.workload import Workload


class PeerProcess(ApartProcess[None]):
    """Runs one peer; called like a `Runner`."""

    def __init__(
        self,
        name: str,
        base: Path,
        scratch: Path,
        work: Workload,
        quantization: str,
        threads: int,
        device: str = "cpu",
    ) -> None:
        """Start the process and wait until the peer has loaded.

        Raises:
            EngineError: The peer could not be loaded.
        """
        super().__init__(
            name,
            _build,
            (name, base, scratch, work, quantization, threads, device),
            threads=threads,
            remedy="leave it out of --against",
        )


def _build(
    name: str,
    base: Path,
    scratch: Path,
    work: Workload,
    quantization: str,
    threads: int,
    device: str,
) -> Runner:
    return PEERS[name](base, scratch, work, quantization, threads, device)
