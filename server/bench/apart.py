"""A peer in a process of its own.

Engines of one process share its OpenMP runtime, which lets waiting threads sleep at once when
several pools together have more threads than there are cores: every product of every engine
then pays for waking them up. Apart, each runs as it would alone.
"""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from hub.errors import EngineError
from server.bench.peers import PEERS
from server.bench.workload import Workload


class PeerProcess:
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
        self._name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, name, base, scratch, work, quantization, threads, device)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._answer()

    def __call__(self, batch: int, beam: int) -> None:
        """Translate a batch.

        Raises:
            EngineError: The peer failed.
        """
        with suppress(BrokenPipeError, ConnectionResetError):  # the answer says why
            self._pipe.send((batch, beam))
        self._answer()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()

    def _answer(self) -> None:
        try:
            error = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            error = "its process ended"
        if error:
            raise EngineError(f"the peer {self._name} failed: {error}; leave it out of --against")


def _serve(
    pipe: Connection,
    name: str,
    base: Path,
    scratch: Path,
    work: Workload,
    quantization: str,
    threads: int,
    device: str,
) -> None:
    import torch

    torch.set_num_threads(threads)
    try:
        runner = PEERS[name](base, scratch, work, quantization, threads, device)
        pipe.send("")
        while True:
            runner(*pipe.recv())
            pipe.send("")
    except EOFError:
        return
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
