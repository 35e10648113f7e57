"""Whatever is measured in a process of its own.

What runs in one process shares its OpenMP runtime, which lets waiting threads sleep at once when
several pools together have more threads than there are cores: every product then pays for waking
them up. Apart, each runs as it would alone.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar, cast

from hub.errors import EngineError

R = TypeVar("R")


class ApartProcess(Generic[R]):
    """A function made and called in another process."""

    def __init__(
        self,
        name: str,
        make: Callable[..., Callable[..., R]],
        arguments: tuple[Any, ...],
        *,
        threads: int,
        remedy: str,
    ) -> None:
        """Start the process and wait until the function is made.

        Args:
            name: What it is called in messages.
            make: Returns the function; importable by its name.
            arguments: What `make` is called with; they are pickled.
            threads: Of torch.
            remedy: What to do when it fails.

        Raises:
            EngineError: It could not be made.
        """
        self._name = name
        self._remedy = remedy
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, make, arguments, threads), daemon=True
        )
        self._process.start()
        theirs.close()
        self._answer()

    def __call__(self, *arguments: Any) -> R:
        """Call the function.

        Raises:
            EngineError: It failed.
        """
        with suppress(BrokenPipeError, ConnectionResetError):  # the answer says why
            self._pipe.send(arguments)
        return cast(R, self._answer())

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()

    def _answer(self) -> Any:
        try:
            error, value = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            error, value = "its process ended", None
        if error:
            raise EngineError(f"the peer {self._name} failed: {error}; {self._remedy}")
        return value


def _serve(
    pipe: Connection,
    make: Callable[..., Callable[..., Any]],
    arguments: tuple[Any, ...],
    threads: int,
) -> None:
    import torch

    torch.set_num_threads(threads)
    try:
        function = make(*arguments)
        pipe.send(("", None))
        while True:
            pipe.send(("", function(*pipe.recv())))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):  # whoever asked has gone
        return
    except Exception as error:
        with suppress(BrokenPipeError):
            pipe.send((f"{type(error).__name__}: {error}", None))
