"""`hub methods`: what can be trained, and what a budget buys of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def methods(
    base: Annotated[
        str | None, typer.Option(help="Solve for this base: embedded, a folder or a HF id.")
    ] = None,
    pair: Annotated[
        str | None, typer.Option(help="Language pair that the base must have, such as en-ko.")
    ] = None,
    budgets: Annotated[
        str | None, typer.Option(help="Shares of the base to solve for: 0.001,0.01,10%.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result to this file, - for stdout.")
    ] = None,
) -> None:
    """List the adapter methods; with a base, the sizes that budgets buy."""
    from training.methods import table

    asked = table.parse_budgets(budgets)
    solved = None
    if base is not None or pair is not None or budgets is not None:
        solved = table.solve_all(base, pair, asked)
    if json_file is not None:
        table.write(json_file, solved)
    if json_file != Path("-"):
        table.show(solved)
