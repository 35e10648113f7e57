"""Several processes on one run: each takes its share of an update's batches.

A launcher (`torchrun`, `accelerate launch`) starts the same command several times and says in the
environment who is who. What an update is stands in the recipe and not in the number of processes:
the gradients of its batches, weighted by their target tokens, are added up wherever they were
computed. So one process with `--accumulate 2` and two processes train the same adapter.

This is `torch.distributed` directly. accelerate wraps model, optimiser and data loader for loops
that see one batch at a time, and averages gradients by process and not by token; what is left for
us to take from it is one sum over an adapter's gradients.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, Protocol, TypeVar, cast

import torch
from torch import Tensor

from hub.errors import SettingsError

T = TypeVar("T")

WAIT: Final = timedelta(hours=6)
"""How long processes wait for each other: for a look at the dev set, and for the slowest."""
LAUNCHED_BY: Final = ("RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torch needs besides WORLD_SIZE to find the other processes."""
BUCKET_NUMBERS: Final = 1 << 24


class Processes(Protocol):
    """The processes of a run, seen from one of them."""

    rank: int
    size: int

    @property
    def is_main(self) -> bool:
        """Whether this one writes, scores and publishes."""

    def share(self, value: T) -> T:
        """Return the main process's value in every process."""

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in one of the processes."""

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes."""


class Alone:
    """A run of one process."""

    rank = 0
    size = 1
    is_main = True

    def share(self, value: T) -> T:
        """Return the value."""
        return value

    def any(self, flag: bool) -> bool:
        """Return the flag."""
        return flag

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Leave the tensors: there is nothing to add."""


class Together:
    """One of several processes; the process group is open."""

    def __init__(self, rank: int, size: int, device: str) -> None:
        """Take what the launcher says, and where small tensors are exchanged."""
        self.rank = rank
        self.size = size
        self._device = device

    @property
    def is_main(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def share(self, value: T) -> T:
        """Return the main process's value; the others wait for it."""
        from torch import distributed

        box: list[object] = [value]
        distributed.broadcast_object_list(box, src=0)
        return cast(T, box[0])

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in one of the processes."""
        from torch import distributed

        found = torch.tensor([float(flag)], device=self._device)
        distributed.all_reduce(found, op=distributed.ReduceOp.MAX)
        return bool(found.item() > 0)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, some millions of numbers at a time."""
        from torch import distributed

        for bucket in _buckets(tensors):
            joined = torch.cat([tensor.flatten() for tensor in bucket])
            distributed.all_reduce(joined)
            start = 0
            for tensor in bucket:
                tensor.copy_(joined[start : start + tensor.numel()].view_as(tensor))
                start += tensor.numel()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    numbers = 0
    for tensor in tensors:
        if bucket and numbers + tensor.numel() > BUCKET_NUMBERS:
            yield bucket
            bucket, numbers = [], 0
        bucket.append(tensor)
        numbers += tensor.numel()
    if bucket:
        yield bucket


@contextmanager
def launched_processes() -> Iterator[Processes]:
    """Join the processes that a launcher started, if one did; leave them at the end.

    Each process of a machine with GPUs takes the one of its own number. On CPUs the exchange is
    gloo's, on GPUs NCCL's.

    Raises:
        SettingsError: The launcher's words are not understood, or a process has no GPU.
    """
    size = _number("WORLD_SIZE", 1)
    if size == 1:
        yield Alone()
        return
    _refuse_half_launched(size)
    from torch import distributed

    device = _own_device(_number("LOCAL_RANK", 0))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=WAIT)
    try:
        yield Together(distributed.get_rank(), size, device)
    finally:
        distributed.destroy_process_group()


def _refuse_half_launched(size: int) -> None:
    missing = [name for name in LAUNCHED_BY if not os.environ.get(name)]
    if size < 1 or missing:
        lacking = f" and {', '.join(missing)} not set" if missing else ""
        raise SettingsError(
            f"WORLD_SIZE is {size}{lacking}: a launcher such as torchrun sets them "
            "all; start by one, or unset WORLD_SIZE"
        )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"{name} is {text!r}; a launcher sets it to a number") from None


def _own_device(local: int) -> str:
    from training.loop.devices import training_device

    device = training_device()
    if device == "cuda":
        if local >= torch.cuda.device_count():
            raise SettingsError(
                f"process {local} of this machine has no GPU: there are "
                f"{torch.cuda.device_count()}; start as many processes as there are GPUs"
            )
        torch.cuda.set_device(local)
    return device
