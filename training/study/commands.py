"""`hub study` and `hub advise`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

study_app = typer.Typer(
    help="Compare methods, budgets, bases and data sizes on a grid, with statistics.",
    no_args_is_help=True,
)
StudyPath = Annotated[Path, typer.Argument(metavar="STUDY.YAML", help="The study file.")]
Folder = Annotated[
    Path | None,
    typer.Option(help="Of the ledger and the report; by default the file's name beside it."),
]


def _folder(file: Path, folder: Path | None) -> Path:
    return folder or file.with_suffix("")


@study_app.command("plan")
def plan(
    file: StudyPath,
    folder: Folder = None,
    probe: Annotated[
        bool, typer.Option(help="Time some updates of each method and size, a few minutes at most.")
    ] = True,
    cells: Annotated[bool, typer.Option("--cells", help="List every cell.")] = False,
) -> None:
    """Show cells, parameter counts, expected time and disk; nothing is run."""
    from training.loop.model import quiet_libraries
    from training.study.file import load_study

    study = load_study(file)
    with quiet_libraries():
        from training.study.plan import make_plan, print_plan

        made = make_plan(study, _folder(file, folder), probed=probe)
    print_plan(made, every=cells)


@study_app.command("run")
def run(
    file: StudyPath,
    folder: Folder = None,
    ray: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Run on Ray: local, or a cluster's address.")
    ] = "",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try failed cells once more.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many cells.")] = None,
) -> None:
    """Run what is not finished; after an interruption of any kind, run it again to go on."""
    from hub.console import note
    from training.loop.model import quiet_libraries
    from training.study.file import load_study

    study = load_study(file)
    where = _folder(file, folder)
    with quiet_libraries():
        from training.study.run import RunOptions, run_study

        counts = run_study(study, RunOptions(where, ray, retry_failed, limit))
    note(", ".join(f"{count} {state}" for state, count in counts.items() if count))
    note(f"next: hub study report {file}")


@study_app.command("status")
def status(file: StudyPath, folder: Folder = None) -> None:
    """Show how the cells stand, and why some came to nothing."""
    from training.study.status import print_status

    print_status(_folder(file, folder))


@study_app.command("report")
def report(
    file: StudyPath,
    folder: Folder = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write; the folder of the study if not given.")
    ] = None,
    png: Annotated[bool, typer.Option("--png", help="Write the pictures as files, too.")] = False,
    bench: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Serving cost, as hub bench engine --json wrote it; may be repeated, a kind each.",
        ),
    ] = None,
) -> None:
    """Write report.html, report.md and cells.csv; nothing is run."""
    from hub.console import note
    from training.study.file import load_study
    from training.study.report import make_report, write_report

    study, where = load_study(file), _folder(file, folder)
    made = make_report(study, where, bench or ())
    for claim in made.claims:
        typer.echo(claim.sentence)
    for path in write_report(made, out or where, png=png):
        note(f"written: {path}")


@study_app.command("claims")
def claims(
    file: StudyPath,
    folder: Folder = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write them to this file, - for stdout.")
    ] = None,
) -> None:
    """Test the paper's four findings on the grid at hand."""
    from hub.console import print_table
    from training.options import check_result_file
    from training.reports.training import write_facts
    from training.study.claims import judge
    from training.study.file import load_study
    from training.study.report import facts, read_results
    from training.study.tables import claims_table

    check_result_file(json_file)
    study = load_study(file)
    found = judge(study, read_results(study, _folder(file, folder)))
    if json_file != Path("-"):
        grid = claims_table(found)
        print_table(grid.columns, grid.rows)
    if json_file is not None:
        write_facts(json_file, {"claims": facts(found)})


def advise(
    pair: Annotated[str, typer.Option(help="Language pair, source first, such as en-ko.")],
    data: Annotated[
        list[str] | None, typer.Option(help="What there is to train on, as of hub train.")
    ] = None,
    train: Annotated[
        int | None,
        typer.Option(min=1, help="Training segments taken of the data; of cldr, as the studies."),
    ] = None,
    base: Annotated[str, typer.Option(help="embedded, a folder or a HF id.")] = "embedded",
    studies: Annotated[Path, typer.Option(help="Folder with the ledgers of studies.")] = Path("."),
    within: Annotated[
        float, typer.Option(min=0.0, help="chrF++ below full fine-tuning that is good enough.")
    ] = 1.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the advice to this file, - for stdout.")
    ] = None,
) -> None:
    """Say which method and budget should do for a pair, by what studies have measured."""
    from training.loop.model import quiet_libraries
    from training.options import check_result_file
    from training.reports.training import write_facts

    check_result_file(json_file)
    with quiet_libraries():
        from training.study.advice import Question, advice_facts, print_advice
        from training.study.advice import advise as ask

        found = ask(Question(pair, tuple(data or ("cldr",)), base, studies, within, train))
    if json_file != Path("-"):
        print_advice(found)
    if json_file is not None:
        write_facts(json_file, advice_facts(found))


def register_study(app: typer.Typer) -> None:
    """Mount `hub study` and `hub advise`."""
    app.add_typer(study_app, name="study")
    app.command("advise")(advise)
