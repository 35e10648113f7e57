"""Times the 8-bit products of the compiled kernels under several instruction sets, and oneDNN's.

    python tests/bench/products.py --variants avx512,amx --rows 1,8,16,32,64,400

Weights are read from memory: copies of each, more than the caches hold, are gone through in turn.
Every figure is the fastest of rounds in which all took turns.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch

from hub.engine import native

SHAPES = ((1024, 1024), (1024, 4096), (4096, 1024), (1024, 128_112))


def product(
    weight: native.PackedWeight, values: torch.Tensor, scale: torch.Tensor, out: torch.Tensor
) -> Callable[[], None]:
    return lambda: native.multiply(values, scale, weight, out)


def of_onednn(
    quantized: torch.Tensor, scale: torch.Tensor, values: torch.Tensor
) -> Callable[[], object]:
    packed = torch.ops.onednn.qlinear_prepack(quantized, [max(len(values), 4), quantized.shape[1]])
    zeros = torch.zeros(len(quantized), dtype=torch.int64)
    return lambda: torch.ops.onednn.qlinear_pointwise(
        values, 1 / 127, 128, packed, scale, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )


def measure(shape: tuple[int, int], rows: int, options: argparse.Namespace) -> None:
    inputs, outputs = shape
    copies = max(1, int(options.megabytes * 1e6) // (inputs * outputs))
    weights = [torch.randint(-127, 128, (outputs, inputs), dtype=torch.int8) for _ in range(copies)]
    scale, arena = torch.rand(outputs), native.WeightArena()
    packed = [native.PackedWeight.pack(one, scale, None, arena) for one in weights]
    values = torch.randint(0, 256, (rows, inputs), dtype=torch.uint8)
    row_scale, out = torch.rand(rows, 1), torch.empty(rows, outputs)
    ours = [product(one, values, row_scale, out) for one in packed]
    theirs = [of_onednn(one, scale, values) for one in weights] if options.onednn else []
    contenders = [(name, ours) for name in options.variants.split(",")]
    if theirs:
        contenders.append(("oneDNN", theirs))
    best = dict.fromkeys((name for name, _ in contenders), float("inf"))
    for _ in range(options.rounds):
        for name, calls in contenders:
            with native.using(name) if name != "oneDNN" else nullcontext():
                begun = time.perf_counter()
                for call in calls:
                    call()
                best[name] = min(best[name], (time.perf_counter() - begun) / len(calls))
    cells = "  ".join(
        f"{name} {1e6 * seconds:8.0f} us {inputs * outputs / seconds / 1e9:5.1f} GB/s"
        f" {rows * inputs * outputs / seconds / 1e9:6.0f} GMAC/s"
        for name, seconds in best.items()
    )
    print(f"{inputs:5} x {outputs:6} {rows:4} rows  {cells}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variants", default=native.variant())
    parser.add_argument("--rows", default="1,4,8,12,16,24,32,48,64,400")
    parser.add_argument("--shapes", default=",".join(f"{a}x{b}" for a, b in SHAPES))
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--onednn", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for shape in options.shapes.split(","):
        inputs, outputs = map(int, shape.split("x"))
        for rows in map(int, options.rows.split(",")):
            measure((inputs, outputs), rows, options)


if __name__ == "__main__":
    main()
