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


def register_study(app: typer.Typer) -> None:
    """Mount `hub study` and `hub advise`."""
    app.add_typer(study_app, name="study")
