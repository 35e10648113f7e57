"""`hub train`, `hub eval`, `hub methods`, and the corpus and base commands beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.option_groups import GroupedCommand, grouped
from training.options import (
    DataOptions,
    LearningOptions,
    MachineOptions,
    MethodOptions,
    OutcomeOptions,
    Quantization,
    RunOptions,
    SearchName,
    TaskOptions,
    VocabularyName,
    check_result_file,
    overrides,
)

if TYPE_CHECKING:
    from training.work import TrainRequest


def register(app: typer.Typer) -> None:
    """Mount the training side's commands on the `hub` app."""
    from training.bench.commands import register_bench
    from training.corpora.commands import corpus_app
    from training.methods.commands import methods
    from training.pretrain.commands import register_pretraining
    from training.study.commands import register_study

    app.command("train", cls=GroupedCommand)(train)
    app.command("methods")(methods)
    app.command("eval")(evaluate)
    app.add_typer(corpus_app, name="corpus")
    register_pretraining(app)
    register_bench(app)
    register_study(app)


@grouped
def train(
    task: TaskOptions,
    method: MethodOptions,
    data: DataOptions,
    learning: LearningOptions,
    machine: MachineOptions,
    outcome: OutcomeOptions,
    run: RunOptions,
) -> None:
    """Train an adapter under a budget, score it, and publish it."""
    run.check()
    request = _train_request(task, method, data, learning, machine, outcome, run)
    from training.loop.processes import launched_processes
    from training.loop.progress import Console
    from training.pipeline import help_train, train_adapter
    from training.reports.training import print_outcome, write_json

    with launched_processes() as processes:
        if not processes.is_main:
            help_train(request, processes)
            return
        made = train_adapter(request, Console(), processes)
    if run.json_file != Path("-"):
        print_outcome(made)
    if run.json_file is not None:
        write_json(run.json_file, made)


def _train_request(
    task: TaskOptions,
    method: MethodOptions,
    data: DataOptions,
    learning: LearningOptions,
    machine: MachineOptions,
    outcome: OutcomeOptions,
    run: RunOptions,
) -> TrainRequest:
    """Return what the options ask for."""
    from hub.budget import parse_budget
    from hub.settings import load_settings
    from training.corpora.feedback import located
    from training.reports.training import explicit_size
    from training.work import TrainRequest

    settings = load_settings(
        {
            "base": task.base,
            "languages": task.languages,
            "registry": run.registry,
            "runs": run.runs,
        }
    )
    return TrainRequest(
        pair=task.pair,
        method=task.method,
        options=method.given() | task.rows_beside(),
        budget=None if task.budget is None else parse_budget(task.budget),
        size=explicit_size(
            task.method,
            width=task.width,
            rank=task.rank,
            length=task.prefix_length,
            rows=None if task.rows_beside() else task.token_rows,
        ),
        base=settings.base,
        languages=settings.languages,
        corpus=located(data.request(), settings),
        overrides=overrides(data, learning, machine),
        registry=settings.registry,
        runs=settings.runs,
        name=outcome.name,
        aliases=tuple(outcome.alias or ()),
        quantization=outcome.quantization,
        publish=outcome.publish,
        force=outcome.force,
        domain=outcome.domain,
        golden=outcome.golden,
        resume=run.resume,
        track=tuple(run.track or ()),
    )


def evaluate(
    ref: Annotated[str, typer.Argument(help="Adapter: name, name@alias, name:version, sha256:…")],
    base: Annotated[str | None, typer.Option(help="Base to score on; the adapter's own.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="The data that it was trained on, to split its test set off again."),
    ] = None,
    test: Annotated[str | None, typer.Option(help="A test set: [FORMAT:]PATH[#OPTIONS].")] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="Another adapter to compare with; repeatable.")
    ] = None,
    comet: Annotated[
        str | None,
        typer.Option(help="PYTHON_OR_ENV[:MODEL]: score with COMET too, in that environment."),
    ] = None,
    comet_timeout: Annotated[
        float | None,
        typer.Option(help="Seconds that COMET may take, its model's loading included; 3600."),
    ] = None,
    quantization: Annotated[
        Quantization, typer.Option(help="The serving engine's numbers.")
    ] = "int8",
    search: Annotated[
        SearchName, typer.Option(help="base: as the base was published; or greedy.")
    ] = "base",
    vocabulary: Annotated[
        VocabularyName,
        typer.Option(help="Choose from all tokens (full), or from the target language's."),
    ] = "full",
    registry: Annotated[str | None, typer.Option(help="Registry folder.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result to this file, - for stdout.")
    ] = None,
) -> None:
    """Score a published adapter and its base, on the test items it was made with or on others."""
    from hub.settings import load_settings
    from training.corpora.feedback import with_store
    from training.evidence.comet import Comet
    from training.evidence.reevaluate import evaluate_ref
    from training.loop.progress import Console
    from training.reports.evaluation import print_evaluation, write_evaluation

    check_result_file(json_file)
    settings = load_settings({"registry": registry})
    evaluation = evaluate_ref(
        ref,
        registry=settings.registry,
        base_ref=base or "",
        quantization=quantization,
        search=search,
        vocabulary=vocabulary,
        progress=Console(),
        data=with_store(data or (), settings),
        test=with_store([test or ""], settings)[0],
        against=tuple(against or ()),
        comet=Comet.asked(comet, comet_timeout),
    )
    if json_file != Path("-"):
        print_evaluation(evaluation)
    if json_file is not None:
        write_evaluation(json_file, evaluation)
