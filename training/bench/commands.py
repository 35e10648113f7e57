"""`hub bench train`; what is heavy is imported when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.bench.options import BENCH_HELP, figures, threads_or_all, words
from hub.commands.groups import command_group


def register_bench(app: typer.Typer) -> None:
    """Mount `hub bench train`."""
    command_group(app, "bench", BENCH_HELP).command("train")(train)


def train(
    dims: Annotated[
        str, typer.Option(help="Dimensions: m2m100-418m, nllb-600m or small.")
    ] = "small",
    method: Annotated[str, typer.Option(help="What is trained, as in hub methods.")] = "bottleneck",
    budget: Annotated[
        str, typer.Option(help="Of the adapter, as a fraction of the base: 0.01 or 1%.")
    ] = "0.01",
    tokens: Annotated[
        int, typer.Option(help="Padded positions a batch, source and target together.")
    ] = 1024,
    updates: Annotated[int, typer.Option(help="Updates of a round.")] = 20,
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16 or auto, several with commas.")
    ] = "auto",
    dropout: Annotated[float, typer.Option(help="Of the base's layers.")] = 0.1,
    label_smoothing: Annotated[float, typer.Option(help="Of the loss, in both trainers.")] = 0.0,
    against: Annotated[
        str,
        typer.Option(
            help="transformers (Seq2SeqTrainer with PEFT on our batches), transformers-half (the "
            "base itself in bfloat16), transformers-grouped (its own batches, by length)."
        ),
    ] = "transformers",
    rounds: Annotated[int, typer.Option(help="Rounds counted; figures are medians.")] = 3,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads; all cores when not given.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to this file.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Keep the random weights here for the next time; else they are thrown away."
        ),
    ] = None,
) -> None:
    """Time our training updates against transformers' Trainer on the same work.

    Same model, adapter, sentences, tokens a batch, precision and optimiser; trainers take turns in
    every round, each in a process of its own.
    """
    from hub.budget import parse_budget
    from hub.console import note
    from training.bench.run import TrainBenchOptions, bench_train
    from training.bench.work import TrainWork

    work = TrainWork(
        dims=dims,
        method=method,
        budget=parse_budget(budget),
        tokens=tokens,
        updates=updates,
        precision="float32",
        dropout=dropout,
        label_smoothing=label_smoothing,
    )
    options = TrainBenchOptions(
        work=work,
        precisions=words(precision),
        against=words(against),
        rounds=rounds,
        threads=threads_or_all(threads),
    )
    with figures(json_file, folder) as (place, write):
        found = bench_train(options, place, note)
        write(found)
    _print(found)


def _print(found: Mapping[str, Any]) -> None:
    from hub.console import print_table

    names = (
        "trainer", "precision", "tokens_per_s", "tokens_per_s_min", "tokens_per_s_max",
        "seconds_per_update", "padding", "ratio",
    )  # fmt: skip
    columns = ("trainer", "precision", ">tokens/s", ">min", ">max", ">s/update", ">padding")
    print_table(
        (*columns, ">ours ÷ it"), [[str(row[name]) for name in names] for row in found["rows"]]
    )
