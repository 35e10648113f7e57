"""Options of a command in small typed pieces: one dataclass a topic, one section of `--help` each.

Typer reads a command's options off its parameters. `grouped` lets the parameters be dataclasses,
whose fields are annotated as Typer's parameters are, and gives Typer the flat list it wants.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, ClassVar, Protocol, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand
from typer.models import ParameterInfo


class OptionGroup(Protocol):
    """A frozen dataclass of options under one title."""

    title: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command for Typer whose options are the fields of the parameters' dataclasses.

    Args:
        command: Its parameters are all annotated with option groups; no field's name occurs twice.
    """
    groups = {
        name: hint for name, hint in get_type_hints(command).items() if name not in ("return",)
    }
    parameters = [each for group in groups.values() for each in _parameters(group)]

    def flat(**values: Any) -> None:
        command(
            **{
                name: group(**{each.name: values[each.name] for each in fields(group)})
                for name, group in groups.items()
            }
        )

    flat.__name__, flat.__doc__ = command.__name__, command.__doc__
    flat.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": None}
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return flat


def _parameters(group: type[OptionGroup]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for each in fields(group):
        default = inspect.Parameter.empty if each.default is MISSING else each.default
        yield inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=_titled(hints[each.name], group.title),
        )


def _titled(hint: Any, title: str) -> Any:
    """Return a field's annotation with the title written into its option."""
    assert get_origin(hint) is Annotated, hint
    kind, *rest = get_args(hint)
    noted = [copy(each) for each in rest]
    for each in noted:
        if isinstance(each, ParameterInfo):
            each.rich_help_panel = title
    return Annotated[(kind, *noted)]


class GroupedCommand(TyperCommand):
    """A command whose help shows its options under their titles, without colour or boxes."""

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write one section for each title, in the order of the options."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                title = getattr(parameter, "rich_help_panel", None) or "Other"
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)
