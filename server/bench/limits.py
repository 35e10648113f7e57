"""What the CPU could do at most, measured in the same run, and how near the engine comes.

Two limits: weights cannot be read faster than memory delivers them, nor multiplied faster than
the kernels' innermost loop runs from the cache. Everything else a step does comes on top, so
neither share reaches 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch

from hub.dimensions import ModelDimensions
from hub.engine import native
from hub.isa import forced_isa, library_caps
from server.bench.workload import Workload

_READ_BYTES: Final = 256 << 20
_TRIES: Final = 12
_ROWS: Final = 192  # whole tiles of every instruction set
_INPUTS: Final = 1024
_OUTPUTS: Final = 128  # for each thread; weights and rows stay in its cache
_REPEATS: Final = 6


@dataclass(frozen=True, slots=True)
class Limits:
    """The best of several tries, all threads together.

    Attributes:
        read_gb_s: Reading memory in order, in 10^9 bytes a second.
        gmac_s: 8-bit products from the cache, in 10^9 multiplications a second.
    """

    read_gb_s: float
    gmac_s: float

    def best(self, other: Limits) -> Limits:
        """Return the better of both measurements: other work on the machine only slows them."""
        return Limits(max(self.read_gb_s, other.read_gb_s), max(self.gmac_s, other.gmac_s))


@dataclass(frozen=True, slots=True)
class Work:
    """What one step of a batch needs, its share of encoding included.

    Attributes:
        read_bytes: 8-bit weights of the base, each read once.
        row_products: Multiplications with them, for one row.
    """

    read_bytes: float
    row_products: float

    @classmethod
    def of(cls, base: ModelDimensions, work: Workload) -> Work:
        """Count linears and the output table; attention and adapters are left out."""
        side = base.d_model * base.inner
        feed_forward = base.feed_forward_linears * base.d_model
        step = base.decoder_layers * (6 * side + feed_forward * base.decoder_ffn)
        step += base.vocab_size * base.d_model
        once = base.encoder_layers * (4 * side + feed_forward * base.encoder_ffn)
        once += base.decoder_layers * 2 * side  # keys and values of the source
        steps = work.target_tokens
        return cls(step + once / steps, step + once * work.source_tokens / steps)

    def shares(self, limits: Limits, tokens_per_s: float, batch: int) -> dict[str, float]:
        """Return the shares of both limits that a measured rate amounts to."""
        reading = tokens_per_s / batch * self.read_bytes / (limits.read_gb_s * 1e9)
        products = tokens_per_s * self.row_products / (limits.gmac_s * 1e9)
        return {"share_of_reading": round(reading, 3), "share_of_products": round(products, 3)}


def measure_limits(threads: int) -> Limits:
    """Measure both limits with the instruction set in use; takes less than a second."""
    return Limits(round(_read_gb_s(threads), 1), round(_gmac_s(threads), 1))


def _read_gb_s(threads: int) -> float:
    memory = torch.ones(_READ_BYTES, dtype=torch.int8)
    return _READ_BYTES / _shortest(lambda: native.read(memory, threads)) / 1e9


def _gmac_s(threads: int) -> float:
    outputs = _OUTPUTS * threads
    weight = native.PackedWeight.pack(
        torch.ones(outputs, _INPUTS, dtype=torch.int8), torch.ones(outputs), None,
        native.WeightArena(),
    )  # fmt: skip
    values = torch.full((_ROWS, _INPUTS), 129, dtype=torch.uint8)
    scale, out = torch.ones(_ROWS, 1), torch.empty(_ROWS, outputs)

    def run() -> None:
        for _ in range(_REPEATS):
            native.multiply(values, scale, weight, out)

    return _REPEATS * _ROWS * _INPUTS * outputs / _shortest(run) / 1e9


def _shortest(run: Callable[[], object]) -> float:
    taken = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return min(taken)


@contextmanager
def held_libraries(environ: MutableMapping[str, str]) -> Iterator[None]:
    """Hold PyTorch, oneDNN, MKL and CTranslate2 to a forced instruction set, here and in peers.

    Peers are processes that start within; this process's libraries obey as far as they have not
    been used before.
    """
    caps = library_caps(forced_isa(environ))
    before = {name: environ.get(name) for name in caps}
    environ.update(caps)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del environ[name]
            else:
                environ[name] = value
