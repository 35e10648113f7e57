"""A command that takes every setting as a flag, read from `Settings` when the command is run.

    @app.command("serve", cls=SettingsCommand)
    def serve(context: typer.Context, config: ConfigFlag = None) -> None:
        settings = settings_of(context, config).settings

`--max-beam 8` sets `max_beam`. The flags are made when the command is parsed or asks for help, so
that other commands do not pay for reading the settings. A parameter of the function itself that
has a setting's name comes before the setting's flag.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
import typer.main
from typer.core import TyperCommand

if TYPE_CHECKING:
    from hub.settings import EffectiveSettings

_GIVEN: Final = "hub.settings"
"""Key of the context's `meta` under which the flags lie."""

ConfigFlag = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; HUB_CONFIG or ./hub.toml otherwise."),
]


class SettingsCommand(TyperCommand):
    """A command with a flag for every setting."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the command's own parameters and a flag for every setting."""
        *own, help_option = super().get_params(ctx)
        taken = {parameter.name for parameter in own}
        flags = [flag for flag in self._flags if flag.name not in taken]
        return [*own, *flags, help_option]

    @cached_property
    def _flags(self) -> list[Any]:
        return list(_setting_flags())


def settings_of(
    context: typer.Context, config: Path | None, more: Mapping[str, Any] | None = None
) -> EffectiveSettings:
    """Return the settings of a command: its flags over environment, file and defaults.

    Args:
        context: Of a `SettingsCommand`.
        config: What `--config` names.
        more: Settings that the command has parameters of its own for.

    Raises:
        SettingsError: A value is bad, a key unknown, or the file not readable.
    """
    from hub.settings import effective_settings

    return effective_settings({**context.meta.get(_GIVEN, {}), **(more or {})}, config=config)


def _setting_flags() -> Iterator[Any]:
    """Yield an option for every setting, made by Typer from a function that has them all."""

    def everything() -> None:
        """Stand for a command that takes every setting."""

    parameters = list(_parameters())
    everything.__annotations__ = {each.name: each.annotation for each in parameters}
    everything.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False)
    app.command()(everything)
    for option in typer.main.get_command(app).params:
        if option.name in everything.__annotations__:
            option.expose_value, option.callback = False, _keep
            yield option


def _parameters() -> Iterator[Parameter]:
    from hub.settings import Settings

    for name, field in Settings.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        switch = field.annotation is bool
        option = typer.Option(
            f"{flag}/--no-{flag[2:]}" if switch else flag,
            metavar=None if switch else "VALUE",
            help=_help(field.description or "", field.get_default(call_default_factory=True)),
        )
        kind = bool | None if switch else str | None
        yield Parameter(
            name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
        )


def _keep(ctx: Any, parameter: Any, value: Any) -> None:
    if value is not None:
        ctx.meta.setdefault(_GIVEN, {})[parameter.name] = value


def _help(description: str, default: object) -> str:
    first = description[:1].upper() if description[:2].islower() else description[:1]
    text = first + description[1:]
    if default in (None, "", ()):
        return f"{text}."
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    return f"{text}. [default: {shown}]"
