"""Groups of commands that more than one package contributes to, such as `hub bench`."""

from __future__ import annotations

import typer


def command_group(app: typer.Typer, name: str, text: str) -> typer.Typer:
    """Return the group of that name, made with this help text by the first who asks."""
    for info in app.registered_groups:
        if info.name == name and info.typer_instance is not None:
            return info.typer_instance
    group = typer.Typer(help=text, no_args_is_help=True)
    app.add_typer(group, name=name)
    return group
