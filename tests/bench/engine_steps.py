"""Time the engine at a model's dimensions, with random weights: base rows against mixed rows.

    python tests/bench/engine_steps.py --rows 1,8,32 --quantization int8 --against ctranslate2

Engines take turns inside each round, so the machine's other load falls on all of
them; figures are medians over rounds, and ratios are what to read. `--clock cpu`
counts processor seconds of this process instead of wall time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hub.engine.adapters import HostAdapter
from hub.engine.architecture import Architecture, Stack
from hub.engine.banks import BankKey, BankPart
from hub.engine.deltas import Deltas, find_deltas
from hub.engine.engine import Engine
from hub.engine.families import find_family
from hub.engine.linear import find_precision
from hub.engine.model import build_model
from hub.engine.requests import DecodeRequest, DecodingOptions

DIMENSIONS: dict[str, dict[str, int]] = {
    "m2m100-418m": {},
    "small": {
        "d_model": 256, "encoder_layers": 4, "decoder_layers": 4, "encoder_ffn_dim": 1024,
        "decoder_ffn_dim": 1024, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        "vocab_size": 8192,
    },
}  # fmt: skip
SOURCE, TARGET = 25, 32
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class RandomCheckpoint:
    """Stands in for a checkpoint folder: the same shapes, random values."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self._generator = torch.Generator().manual_seed(0)

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator) * 0.03

    def linear(self, stack: Stack, _layer: int, name: str) -> tuple[Tensor, Tensor]:
        out, width = self.architecture.linear_shape(stack, name)
        return self._random(out, width), self._random(out)

    def norm(self, _stack: Stack, _layer: int | None, _name: str = "") -> tuple[Tensor, Tensor]:
        return torch.ones(self.architecture.d_model), self._random(self.architecture.d_model)

    def embedding(self) -> Tensor:
        return self._random(self.architecture.vocab_size, self.architecture.d_model)

    def finish(self) -> None:
        pass


def random_adapter(
    kind: str, architecture: Architecture, deltas: Deltas, budget: float, seed: int
) -> HostAdapter:
    """A bottleneck after every layer, or LoRA on q and v, of about `budget` of the base."""
    d, generator = architecture.d_model, torch.Generator().manual_seed(seed)
    parameters = budget * base_parameters(architecture)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.05

    layers = architecture.encoder_layers + architecture.decoder_layers
    sites = architecture.encoder_layers + 2 * architecture.decoder_layers
    size = parameters / layers if kind == "bottleneck" else parameters / (2 * sites)
    rank = max(8, round(size / (2 * d) / 8) * 8)
    parts: list[BankPart] = []
    for key in bank_keys(kind):
        count = architecture.layers(key.stack)
        parts.append(
            deltas.pack(
                key, random(count, rank, d), random(count, rank, d),
                random(count, rank) if key.biased else None,
                random(count, d) if key.biased else None,
            )
        )  # fmt: skip
    return HostAdapter(kind=kind, digest="random", parameters=int(parameters), parts=tuple(parts))


def bank_keys(kind: str) -> Iterator[BankKey]:
    stacks: tuple[Stack, ...] = ("encoder", "decoder")
    for stack in stacks:
        if kind == "bottleneck":
            yield BankKey(stack, "output", "relu", normed=True, biased=True)
            continue
        for site in ("self_attn", "cross_attn") if stack == "decoder" else ("self_attn",):
            yield BankKey(stack, f"{site}.q")
            yield BankKey(stack, f"{site}.v")


def base_parameters(architecture: Architecture) -> int:
    d, total = architecture.d_model, architecture.vocab_size * architecture.d_model
    stacks: tuple[Stack, ...] = ("encoder", "decoder")
    for stack in stacks:
        attentions = 2 if stack == "decoder" else 1
        total += architecture.layers(stack) * (
            attentions * 4 * d * d + 2 * d * architecture.ffn(stack)
        )
    return total


def build_engine(architecture: Architecture, quantization: str, rows: int) -> Engine:
    precision = find_precision(quantization)
    checkpoint: Any = RandomCheckpoint(architecture)
    with torch.inference_mode():
        model = build_model(checkpoint, precision)
    from hub.engine.banks import Banks

    banks = Banks(architecture, rows, find_deltas(precision).merge_macs)
    return Engine(model, banks, reader=None, digest="random", max_rows=rows * 8)  # type: ignore[arg-type]


def requests_for(rows: int, beam: int, slots: list[int]) -> list[DecodeRequest]:
    generator = torch.Generator().manual_seed(1)
    options = DecodingOptions(beam_size=beam, max_new_tokens=TARGET, min_new_tokens=TARGET)
    sources = torch.randint(10, 8000, (rows, SOURCE), generator=generator).tolist()
    return [
        DecodeRequest(key, tuple(source), (7,), slots[key % len(slots)], options)
        for key, source in enumerate(sources)
    ]


def ctranslate2_runner(config: dict[str, Any], threads: int) -> Callable[[int, int], None]:
    """CTranslate2 int8 on a random model of the same dimensions, exactly TARGET tokens."""
    import ctranslate2
    from ctranslate2.converters.transformers import M2M100Loader
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    model = M2M100ForConditionalGeneration(M2M100Config(**config)).eval()
    spec = M2M100Loader().get_model_spec(model)
    tokens = ["<s>", "<pad>", "</s>", "<unk>"]
    tokens += [f"t{i}" for i in range(4, model.config.vocab_size)]
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.add_attribute("decoder_start_token", "</s>")
    spec.validate()
    spec.optimize(quantization="int8")
    folder = Path(tempfile.mkdtemp()) / "ct2"
    folder.mkdir()
    spec.save(str(folder))
    del model, spec
    translator = ctranslate2.Translator(
        str(folder), device="cpu", compute_type="int8", intra_threads=threads, inter_threads=1
    )

    def run(rows: int, beam: int) -> None:
        sources = [[tokens[i] for i in one.source_ids] for one in requests_for(rows, 1, [0])]
        found = translator.translate_batch(
            sources, target_prefix=[["t7"]] * rows, beam_size=beam, max_batch_size=0,
            min_decoding_length=TARGET + 1, max_decoding_length=TARGET + 1,
        )  # fmt: skip
        assert all(len(one.hypotheses[0]) == TARGET + 1 for one in found)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dims", default="m2m100-418m", choices=DIMENSIONS)
    parser.add_argument("--quantization", default="int8")
    parser.add_argument("--rows", default="1,8,32")
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--budget", type=float, default=0.01)
    parser.add_argument("--kinds", default="bottleneck,lora")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--against", default="")
    parser.add_argument(
        "--clock", default="wall", choices=CLOCKS, help="cpu: fair on a busy machine"
    )
    parser.add_argument("--profile", action="store_true", help="profile one mixed run instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config: dict[str, Any] = {"model_type": "m2m_100", **DIMENSIONS[options.dims]}
    architecture = find_family(config).architecture(config)
    sizes = [int(size) for size in options.rows.split(",")]
    engine = build_engine(architecture, options.quantization, max(sizes))
    kinds = options.kinds.split(",")
    for slot in range(1, max(sizes) + 1):
        kind = kinds[slot % len(kinds)]
        deltas = find_deltas(find_precision(options.quantization))
        engine.place(slot, random_adapter(kind, architecture, deltas, options.budget, slot))
    runners: dict[str, Callable[[int, int], object]] = {
        "base": lambda rows, beam: engine.translate(requests_for(rows, beam, [0])),
        "mixed": lambda rows, beam: engine.translate(
            requests_for(rows, beam, list(range(1, rows + 1)))
        ),
    }
    if "ctranslate2" in options.against:
        runners["ctranslate2"] = ctranslate2_runner(DIMENSIONS[options.dims], options.threads)
    if options.profile:
        profile(runners["mixed"], sizes[-1], options.beam)
        return
    for rows in sizes:
        print(
            json.dumps(measure(runners, rows, options.beam, options.rounds, CLOCKS[options.clock])),
            flush=True,
        )


def measure(
    runners: dict[str, Callable[[int, int], object]],
    rows: int,
    beam: int,
    rounds: int,
    clock: Callable[[], float],
) -> dict[str, float]:
    """Return medians in tokens per second, and the ratios."""
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for number in range(rounds + 1):
        for name, run in runners.items():
            time.sleep(0.5)  # until idle threads of the engine before have stopped spinning
            started = clock()
            run(rows, beam)
            if number:  # the first round warms up
                seconds[name].append(clock() - started)
    rates = {name: rows * TARGET / statistics.median(taken) for name, taken in seconds.items()}
    found = {"rows": float(rows), "beam": float(beam)}
    found |= {name: round(rate, 1) for name, rate in rates.items()}
    found["mixed/base"] = round(rates["mixed"] / rates["base"], 3)
    if "ctranslate2" in rates:
        found["base/ctranslate2"] = round(rates["base"] / rates["ctranslate2"], 2)
    return found


def profile(run: Callable[[int, int], object], rows: int, beam: int) -> None:
    run(rows, beam)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        run(rows, beam)
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=30))


if __name__ == "__main__":
    main()
