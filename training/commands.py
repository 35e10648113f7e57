"""`hub train`, `hub eval`, `hub methods`, and the corpus and base commands beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Quantization = Literal["float32", "bfloat16", "int8"]


def register(app: typer.Typer) -> None:
    """Mount the training side's commands on the `hub` app."""
    from training.corpora.commands import corpus_app
    from training.methods.commands import methods
    from training.pretrain.commands import bases_app

    app.command("train")(train)
    app.command("methods")(methods)
    app.command("eval")(evaluate)
    app.add_typer(corpus_app, name="corpus")
    app.add_typer(bases_app, name="bases")


def train(
    pair: Annotated[str, typer.Option(help="Language pair, source first, such as en-ko.")],
    budget: Annotated[
        str | None, typer.Option(help="Share of the base's parameters: 0.01 or 1%.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="What is trained; `hub methods` lists them all.")
    ] = "bottleneck",
    width: Annotated[
        int | None, typer.Option(help="Bottleneck width, instead of --budget.")
    ] = None,
    rank: Annotated[int | None, typer.Option(help="LoRA rank, instead of --budget.")] = None,
    prefix_length: Annotated[
        int | None, typer.Option(help="Prefix length, instead of --budget.")
    ] = None,
    targets: Annotated[
        str | None, typer.Option(help="LoRA targets: qv, attention or all-linear.")
    ] = None,
    rslora: Annotated[
        bool | None, typer.Option("--rslora/--no-rslora", help="LoRA: scale by α/√rank.")
    ] = None,
    dora: Annotated[
        bool | None, typer.Option("--dora/--no-dora", help="LoRA: magnitudes of their own.")
    ] = None,
    placement: Annotated[
        str | None, typer.Option(help="Bottleneck: after each layer or sublayer.")
    ] = None,
    activation: Annotated[str | None, typer.Option(help="Bottleneck: relu or gelu.")] = None,
    norm: Annotated[
        bool | None, typer.Option("--norm/--no-norm", help="Bottleneck: LayerNorm in front.")
    ] = None,
    attentions: Annotated[
        str | None, typer.Option(help="Prefix: all attentions, or decoder.")
    ] = None,
    reparametrised: Annotated[
        bool | None,
        typer.Option("--reparametrised/--direct", help="Prefix: made by a network in training."),
    ] = None,
    norm_train: Annotated[
        str | None, typer.Option(help="Norms: weight, or both weight and bias.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="embedded, a folder or a HF id.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="cldr, or [WEIGHT@][FORMAT:]PATH[#OPTIONS]; repeatable. See hub corpus formats."
        ),
    ] = None,
    train_segments: Annotated[
        int | None, typer.Option("--train", help="Training segments taken of the corpus.")
    ] = None,
    dev: Annotated[
        str | None, typer.Option(help="Dev segments split off the corpus, or a file of them.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Test segments split off the corpus, or a file of them.")
    ] = None,
    clean: Annotated[
        list[str] | None,
        typer.Option(help="FILTER=VALUE, FILTER=off; repeatable. See hub corpus filters."),
    ] = None,
    no_clean: Annotated[bool, typer.Option("--no-clean", help="Use the data as it is.")] = False,
    licence: Annotated[str, typer.Option(help="The data's licence, for the model card.")] = "",
    seed: Annotated[int | None, typer.Option(help="Of sample, start, batches, dropout.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="inverse-sqrt, cosine, linear or constant.")
    ] = None,
    warmup: Annotated[int | None, typer.Option(help="Updates until the peak.")] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="From 0 to below 1.")] = None,
    dropout: Annotated[float | None, typer.Option(help="Of the base's layers.")] = None,
    tokens: Annotated[
        int | None, typer.Option(help="Tokens per batch, source and target, padding counted.")
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option(help="Batches per update; several processes share them.")
    ] = None,
    checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--checkpointing/--no-checkpointing",
            help="Compute layers twice and keep less of them in memory.",
        ),
    ] = None,
    max_updates: Annotated[int | None, typer.Option(help="Updates at most.")] = None,
    eval_every: Annotated[int | None, typer.Option(help="Updates between dev scores.")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Dev scores without a better one before stopping.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="auto, float32 or bfloat16 products.")
    ] = None,
    quantization: Annotated[
        Quantization, typer.Option(help="The serving engine's numbers while scoring.")
    ] = "int8",
    name: Annotated[str, typer.Option(help="Name to publish under.")] = "",
    alias: Annotated[
        list[str] | None, typer.Option(help="Alias to move to the new version; repeatable.")
    ] = None,
    publish: Annotated[bool, typer.Option(help="Put the adapter into the registry.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Publish even if worse.")] = False,
    resume: Annotated[
        bool, typer.Option(help="Go on with an unfinished run of the same recipe.")
    ] = True,
    registry: Annotated[str | None, typer.Option(help="Registry folder.")] = None,
    runs: Annotated[Path | None, typer.Option(help="Folder that keeps runs.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result to this file, - for stdout.")
    ] = None,
) -> None:
    """Train an adapter under a budget, score it, and publish it."""
    from hub.budget import parse_budget
    from hub.errors import SettingsError
    from hub.settings import load_settings
    from training.corpora.commands import corpus_request, held_out_number
    from training.defaults import Overrides
    from training.pipeline import TrainRequest, train_adapter
    from training.progress import Console
    from training.results import explicit_size, print_outcome, write_json

    if json_file is not None and not json_file.parent.is_dir():
        raise SettingsError(f"--json {json_file}: there is no folder {json_file.parent}")
    settings = load_settings({"base": base, "registry": registry, "runs": runs})
    options = {
        "targets": targets,
        "rslora": rslora,
        "dora": dora,
        "placement": placement,
        "activation": activation,
        "norm": norm,
        "attentions": attentions,
        "reparametrised": reparametrised,
        "norm_train": norm_train,
    }
    request = TrainRequest(
        pair=pair,
        method=method,
        options={key: value for key, value in options.items() if value is not None},
        budget=None if budget is None else parse_budget(budget),
        size=explicit_size(method, width=width, rank=rank, length=prefix_length),
        base=settings.base,
        corpus=corpus_request(
            data, dev=dev, test=test, clean=clean, no_clean=no_clean, licence=licence
        ),
        overrides=Overrides(
            train=train_segments,
            dev=held_out_number(dev),
            test=held_out_number(test),
            seed=seed,
            learning_rate=lr,
            schedule=schedule,
            warmup=warmup,
            label_smoothing=label_smoothing,
            dropout=dropout,
            tokens_per_batch=tokens,
            max_updates=max_updates,
            evaluate_every=eval_every,
            patience=patience,
            precision=precision,
            accumulate=accumulate,
            checkpointing=checkpointing,
        ),
        registry=settings.registry,
        runs=settings.runs,
        name=name,
        aliases=tuple(alias or ()),
        quantization=quantization,
        publish=publish,
        force=force,
        resume=resume,
    )
    outcome = train_adapter(request, Console())
    if json_file is not None:
        write_json(json_file, outcome)
    if json_file != Path("-"):
        print_outcome(outcome)


def evaluate(
    ref: Annotated[str, typer.Argument(help="Adapter: name, name@alias, name:version, sha256:…")],
    base: Annotated[str | None, typer.Option(help="Base to score on; the adapter's own.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="The data that it was trained on, to split its test set off again."),
    ] = None,
    test: Annotated[str | None, typer.Option(help="A test set: [FORMAT:]PATH[#OPTIONS].")] = None,
    quantization: Annotated[
        Quantization, typer.Option(help="The serving engine's numbers.")
    ] = "int8",
    registry: Annotated[str | None, typer.Option(help="Registry folder.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result to this file, - for stdout.")
    ] = None,
) -> None:
    """Score a published adapter and its base, on the test items it was made with or on others."""
    from hub.settings import load_settings
    from training.progress import Console
    from training.reevaluate import evaluate_ref
    from training.results import print_evaluation, write_evaluation

    settings = load_settings({"registry": registry})
    evaluation = evaluate_ref(
        ref,
        registry=settings.registry,
        base_ref=base or "",
        quantization=quantization,
        progress=Console(),
        data=tuple(data or ()),
        test=test or "",
    )
    if json_file is not None:
        write_evaluation(json_file, evaluation)
    if json_file != Path("-"):
        print_evaluation(evaluation)
