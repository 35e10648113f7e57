"""`hub bench engine`, `residency`, `serve` and `doors`; what is heavy is imported when they run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.bench.options import BENCH_HELP, figures, threads_or_all, words
from hub.commands.groups import command_group

Dims = Annotated[str, typer.Option(help="Dimensions: m2m100-418m, nllb-600m or small.")]
Quantization = Annotated[
    str, typer.Option(help="int8 (CPU), bfloat16, float16, float32, bnb-int8 or nf4.")
]
Kinds = Annotated[str, typer.Option(help="Kinds of adapters, taken in turn: bottleneck, lora.")]
Budget = Annotated[
    str, typer.Option(help="Of each adapter, as a fraction of the base: 0.01 or 1%.")
]
Rounds = Annotated[int, typer.Option(help="Rounds counted; figures are medians.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; all cores when not given.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")]
Folder = Annotated[
    Path | None,
    typer.Option(help="Keep random weights here for the next time; else they are thrown away."),
]


def register_bench(app: typer.Typer) -> None:
    """Mount `hub bench engine`, `residency`, `serve` and `doors`."""
    bench = command_group(app, "bench", BENCH_HELP)
    bench.command("engine")(engine)
    bench.command("residency")(residency)
    bench.command("serve")(serve)
    bench.command("doors")(doors)


def engine(
    dims: Dims = "m2m100-418m",
    quantization: Quantization = "int8",
    batch: Annotated[str, typer.Option(help="Batch sizes, as 1,8,32.")] = "1,8,32,64",
    beam: Annotated[str, typer.Option(help="Beam widths, as 1,4.")] = "1",
    adapters: Annotated[
        str, typer.Option(help="Adapters of a mixed batch: distinct (one a row) or a number.")
    ] = "distinct",
    kinds: Kinds = "bottleneck,lora",
    budget: Budget = "0.01",
    against: Annotated[
        str, typer.Option(help="Other engines: ctranslate2, transformers, peft.")
    ] = "",
    rounds: Rounds = 3,
    device: Annotated[
        str, typer.Option(help="Where the engines run: cpu, cuda, cuda:n or auto.")
    ] = "cpu",
    threads: Threads = None,
    memory: Annotated[bool, typer.Option(help="Also load the base in a fresh process.")] = True,
    vocabulary: Annotated[
        str, typer.Option(help="language: also time base rows that choose from lists of tokens.")
    ] = "full",
    pieces: Annotated[int, typer.Option(help="Tokens of each such list.")] = 32_768,
    languages: Annotated[
        int, typer.Option(min=1, help="Different lists, which rows take in turn.")
    ] = 1,
    json_file: Json = None,
    folder: Folder = None,
) -> None:
    """Time base rows and mixed rows of one batch, and other engines beside them.

    Sources have 25 tokens, targets exactly 32. All engines take turns in every round.
    """
    from hub.budget import parse_budget
    from server.bench.engine import EngineOptions, bench_engine

    options = EngineOptions(
        dims=dims,
        quantization=quantization,
        batches=_numbers("--batch", batch),
        beams=_numbers("--beam", beam),
        adapters=0 if adapters == "distinct" else _numbers("--adapters", adapters)[0],
        kinds=words(kinds),
        budget=parse_budget(budget),
        against=words(against),
        rounds=rounds,
        threads=threads_or_all(threads),
        device=device,
        memory=memory,
        languages=languages if _lists(vocabulary) else 0,
        pieces=pieces,
    )
    with figures(json_file, folder) as (place, write):
        found = bench_engine(options, place, _say)
        write(found)
    _print_engine(found)


def residency(
    adapters: Annotated[int, typer.Option(help="Registered adapters.")] = 1000,
    requests: Annotated[int, typer.Option(help="Texts to translate.")] = 2000,
    warm: Annotated[int, typer.Option(help="Texts before those, which fill the tiers.")] = 1000,
    distribution: Annotated[
        str, typer.Option(help="How requests choose adapters: zipf or uniform.")
    ] = "zipf",
    exponent: Annotated[float, typer.Option(help="Of the Zipf distribution.")] = 1.0,
    slots: Annotated[int, typer.Option(help="Device tier, in adapters.")] = 64,
    host: Annotated[int, typer.Option(help="Host tier, in adapters.")] = 256,
    rows: Annotated[int, typer.Option(help="Rows of a step.")] = 64,
    in_flight: Annotated[int, typer.Option(help="Texts waiting or running at any time.")] = 256,
    dims: Dims = "small",
    quantization: Quantization = "int8",
    kinds: Kinds = "bottleneck,lora",
    budget: Budget = "0.01",
    rounds: Rounds = 1,
    threads: Threads = None,
    json_file: Json = None,
    folder: Folder = None,
) -> None:
    """Serve more adapters than there are slots, against all of them in slots, in one run.

    The server's worker, scheduler, tiers and loaders run as they do in `hub serve`.
    """
    import sys

    from hub.budget import parse_budget
    from server.bench.residency import ResidencyOptions, bench_residency
    from server.commands import SWITCH_SECONDS

    sys.setswitchinterval(SWITCH_SECONDS)
    options = ResidencyOptions(
        dims=dims,
        quantization=quantization,
        adapters=adapters,
        requests=requests,
        warm=warm,
        distribution=distribution,
        exponent=exponent,
        slots=slots,
        host=host,
        rows=rows,
        in_flight=in_flight,
        kinds=words(kinds),
        budget=parse_budget(budget),
        rounds=rounds,
        threads=threads_or_all(threads),
    )
    with figures(json_file, folder) as (place, write):
        found = bench_residency(options, place, _say)
        write(found)
    _print_residency(found)


def serve(
    base: Annotated[
        str, typer.Option(help="Base model: embedded, a folder or a Hugging Face id.")
    ] = "embedded",
    pair: Annotated[str, typer.Option(help="Language pair of the texts.")] = "en-ko",
    callers: Annotated[
        str, typer.Option(help="Numbers of callers at once, as 1,16,64.")
    ] = "1,16,64,256",
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each part that counts.")] = 10.0,
    deadline: Annotated[
        float, typer.Option(min=0, help="Of calls in the overload, in ms; 0: twice the usual.")
    ] = 0.0,
    scenarios: Annotated[
        str, typer.Option(help="Some of saturation, overload, storm, flood, cancels.")
    ] = "saturation,overload,storm,flood,cancels",
    engine_in: Annotated[
        str, typer.Option("--engine", help="Where the server's engine runs: thread or process.")
    ] = "thread",
    threads: Threads = None,
    json_file: Json = None,
) -> None:
    """Load a server in every way that hurts, beside its engine alone.

    Server and callers are processes of their own, and what each takes of the processor is told.
    """
    from hub.languages import LanguagePair
    from server.bench.serve import ServeOptions, bench_serve

    languages = LanguagePair.parse(pair)
    options = ServeOptions(
        base=base,
        pair=(languages.source, languages.target),
        callers=_numbers("--callers", callers),
        seconds=seconds,
        deadline_ms=deadline,
        scenarios=words(scenarios),
        threads=threads,
        engine=engine_in,
    )
    options.check()
    with figures(json_file, None) as (_, write):
        found = bench_serve(options, _say)
        write(found)
    _print_serve(found)


def doors(
    base: Annotated[str, typer.Option(help="Base model, as the setting.")] = "embedded",
    pair: Annotated[str, typer.Option(help="Languages of all texts, as en-ko.")] = "en-ko",
    calls: Annotated[int, typer.Option(help="Calls of one caller by each door.")] = 200,
    callers: Annotated[int, typer.Option(help="Callers at saturation.")] = 64,
    seconds: Annotated[float, typer.Option(help="Of each part of the saturation.")] = 5.0,
    rounds: Rounds = 3,
    threads: Threads = None,
    json_file: Json = None,
) -> None:
    """Time the HTTP doors beside gRPC's: what they add to a call, and what they let through."""
    from hub.console import print_table
    from hub.languages import LanguagePair
    from server.bench.doors import bench_doors
    from server.bench.serve import ServeOptions

    wanted = LanguagePair.parse(pair)
    options = ServeOptions(
        base=base, pair=(wanted.source, wanted.target), seconds=seconds, threads=threads
    )
    with figures(json_file, None) as (_, write):
        found = bench_doors(options, pairs=calls, callers=callers, rounds=rounds)
        write(found)
    print_table(
        (
            "door", ">p50 ms", ">adds", ">CPU ms", ">adds", ">calls/s", ">of gRPC", ">least",
            ">most", ">CPU ms a call",
        ),
        [[*map(str, row.values())] + [""] * (10 - len(row)) for row in found["rows"]],
    )  # fmt: skip


def _print_serve(found: Mapping[str, Any]) -> None:
    from hub.console import print_table
    from server.bench.serve_report import rows_of_scenarios

    alone = found["engine_alone"]
    _say(
        f"the engine alone: {alone['texts_per_second']} texts/s, "
        f"{alone['output_tokens_per_second']} output tokens/s"
    )
    print_table(
        ("scenario", "callers", ">answered/s", ">p50 ms", ">p95 ms", ">p99 ms", ">refused/s",
         ">refused p99 ms", ">server cpus", ">client cpus"),
        rows_of_scenarios(found),
    )  # fmt: skip


def _lists(vocabulary: str) -> bool:
    from hub.errors import SettingsError

    if vocabulary not in ("full", "language"):
        raise SettingsError(f"--vocabulary {vocabulary!r} is not known; choose full or language")
    return vocabulary == "language"


def _numbers(option: str, text: str) -> tuple[int, ...]:
    from hub.errors import SettingsError

    numbers = words(text)
    if not numbers or not all(one.isascii() and one.isdigit() and int(one) for one in numbers):
        raise SettingsError(f"{option} {text!r} is not a list of numbers from 1, such as 1,8,32")
    return tuple(int(one) for one in numbers)


def _say(message: str) -> None:
    from hub.console import note

    note(message)


def _print_engine(found: Mapping[str, Any]) -> None:
    from hub.console import print_table

    columns = ("engine", ">batch", ">beam", ">tokens/s", ">min", ">max")
    ratios = ("ratio_to_ctranslate2", "ratio_to_base", "ratio_to_peft")
    print_table(
        (*columns, ">/ctranslate2", ">/base", ">/peft"),
        [
            [
                row["engine"], str(row["batch"]), str(row["beam"]), str(row["tokens_per_s"]),
                str(row["tokens_per_s_min"]), str(row["tokens_per_s_max"]),
                *("" if row[name] is None else str(row[name]) for name in ratios),
            ]
            for row in found["rows"]
        ],
    )  # fmt: skip
    print_table(
        ("adapter", ">size", ">fraction", ">bytes", ">from host ms", ">from disk ms"),
        [
            [
                one["kind"], str(one["size"]), str(one["fraction"]), str(one["bytes"]),
                str(one["from_host_ms"]), str(one["from_disk_ms"]),
            ]
            for one in found["placing"]
        ],
    )  # fmt: skip
    _print_limits(found)
    if found["memory"]["base"]:
        place = "resident" if found["workload"]["device"] == "cpu" else "on the GPU"
        _say(f"the base takes {found['memory']['base']['base_bytes']:,} bytes, {place}")


def _print_limits(found: Mapping[str, Any]) -> None:
    machine, limits = found["machine"], found["limits"]
    forced = " (forced)" if machine["forced_isa"] else ""
    _say(f"on {machine['cpu']}, kernels for {machine['kernels'] or 'no CPU: portable'}{forced}")
    if limits is None:
        return
    _say(
        f"at most {limits['read_gb_s']} GB/s of reading and {limits['gmac_s']} GMAC/s of products, "
        "measured in this run; the base reaches"
    )
    for row in found["rows"]:
        if "share_of_reading" in row:
            _say(
                f"  batch {row['batch']}: {row['share_of_reading']:.0%} of the reading, "
                f"{row['share_of_products']:.0%} of the products"
            )


def _print_residency(found: Mapping[str, Any]) -> None:
    from hub.console import print_table

    print_table(
        (
            "adapters", ">tokens/s", ">slot hits", ">host hits", ">evictions", ">place ms",
            ">load ms", ">step ms", ">delay p99", ">delay max",
        ),
        [
            [
                row["engine"], str(row["tokens_per_s"]), *map(str, row["hit_rate"].values()),
                str(row["evictions"]["device"]), str(row["place_ms"]["median"]),
                str(row["load_ms"]["median"]), str(row["step_ms"]["median"]),
                str(row["step_delay_ms"]["p99"]), str(row["step_delay_ms"]["max"]),
            ]
            for row in found["rows"]
        ],
    )  # fmt: skip
    _say(f"tiered over all-resident: {found['ratio']}")
