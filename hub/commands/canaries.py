"""`hub alias` and `hub canary`: move aliases, try versions behind them, see what happened.

They change the registry itself; with --server a running server's, by its calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hub.commands.adapters import (
    ABSENT,
    JsonFlag,
    RegistryFlag,
    existing_registry,
    print_json,
    user_name,
)

if TYPE_CHECKING:
    from hub.canary_calls import CanaryInfo
    from hub.client import HubClient
    from hub.registry import Registry
    from hub.registry.records import CanaryOutcome

_NOTHING: Final = "–"
_COLUMNS: Final = (
    "canary", ">share", ">in use", ">tried", ">requests", ">of tried", ">evidence", "status",
    "reason",
)  # fmt: skip
_SIGNALS: Final = ("signal", ">in use", ">tried")

alias_app = typer.Typer(help="Move aliases, and see who moved them.", no_args_is_help=True)
canary_app = typer.Typer(help="List, promote and cancel canaries.", no_args_is_help=True)

AliasArgument = Annotated[str, typer.Argument(metavar="NAME@ALIAS", help="An alias.")]
ServerFlag = Annotated[
    str | None,
    typer.Option(help="Address of a running server, to be asked in place of the registry."),
]


@alias_app.command("set")
def set_alias(
    ref: AliasArgument,
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="Number, sha256:… or name@alias.")
    ],
    canary: Annotated[
        str, typer.Option(help="Let it serve this share of the requests only, such as 10%.")
    ] = "",
    promote_after: Annotated[
        int,
        typer.Option(
            min=0, help="Move the alias once the canary has served so many; 0: never by itself."
        ),
    ] = 0,
    expect: Annotated[
        int | None,
        typer.Option(
            min=ABSENT,
            help="Only if the alias points at this version now; 0: only if it does not exist.",
        ),
    ] = None,
    registry: RegistryFlag = None,
    server: ServerFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Point an alias at a version, or try that version on a share of its requests.

    A canary is compared with the version in use, and rolled back when it is significantly worse.
    """
    from hub.errors import InputError

    name, alias = _named(ref)
    if canary:
        share = _share(canary)
        info = _start(name, alias, version, share, promote_after, expect, registry, server)
        _tell_start(info, as_json=as_json)
        return
    if promote_after:
        raise InputError("--promote-after goes with --canary; give the share, such as 10%")
    _move(name, alias, version, expect, registry, server, as_json=as_json)


def _tell_start(info: CanaryInfo, *, as_json: bool) -> None:
    if as_json:
        return print_json(_record(info))
    print(
        f"{info.ref}: version {info.canary} serves {100 * info.fraction:g} % of the requests, "
        f"version {info.stable} the others; see `hub canary list`"
    )


@alias_app.command("log")
def show_log(
    ref: Annotated[
        str, typer.Argument(metavar="[NAME[@ALIAS]]", help="Only of this name or alias.")
    ] = "",
    registry: RegistryFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Show every move of the aliases and every canary, in order."""
    from hub.console import print_table

    name, _, alias = ref.partition("@")
    with existing_registry(registry) as opened:
        events = opened.canaries.log(name, alias)
    if as_json:
        return print_json([asdict(one) | {"at": one.at.isoformat()} for one in events])
    rows = [
        (
            one.at.isoformat(timespec="seconds"), f"{one.name}@{one.alias}", one.event,
            str(one.before or _NOTHING), str(one.after or _NOTHING), one.actor or _NOTHING,
            one.reason or _NOTHING,
        )
        for one in events
    ]  # fmt: skip
    print_table(("time", "alias", "event", ">before", ">after", "by", "reason"), rows)


@canary_app.command("list")
def list_canaries(
    every: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    registry: RegistryFlag = None,
    server: ServerFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the canaries that run, and how the two versions compare."""
    from hub.canary_calls import list_canaries
    from hub.console import note, print_table

    if server is not None:
        with _client(server) as client:
            found = list_canaries(client, all_of_them=every)
    else:
        with existing_registry(registry) as opened:
            found = _of_registry(opened, every)
    if as_json:
        return print_json([_record(info) for info in found])
    if not found:
        return note(
            "no canary runs; start one with `hub alias set NAME@ALIAS VERSION --canary 10%`"
        )
    print_table(_COLUMNS, [_row(info) for info in found])
    for info in found:
        if info.status == "running":
            print_table((f"{info.ref}: {_SIGNALS[0]}", *_SIGNALS[1:]), _means(info))


@canary_app.command("promote")
def promote(
    ref: AliasArgument,
    reason: Annotated[str, typer.Option(help="For the log.")] = "",
    registry: RegistryFlag = None,
    server: ServerFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Point the alias at the version that is tried; the canary ends."""
    _end(ref, reason, registry, server, promoted=True, as_json=as_json)


@canary_app.command("cancel")
def cancel(
    ref: AliasArgument,
    reason: Annotated[str, typer.Option(help="For the log.")] = "",
    registry: RegistryFlag = None,
    server: ServerFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """End a canary; the version in use serves all requests again."""
    _end(ref, reason, registry, server, promoted=False, as_json=as_json)


def _end(
    ref: str, reason: str, registry: str | None, server: str | None, *, promoted: bool,
    as_json: bool,
) -> None:  # fmt: skip
    from hub.canary_calls import canary_info, end_canary
    from hub.registry import Note

    name, alias = _named(ref)
    if server is not None:
        with _client(server) as client:
            info = end_canary(client, name, alias, promote=promoted, reason=reason)
    else:
        with existing_registry(registry) as opened:
            canary = opened.canaries.behind(name, alias)
            outcome: CanaryOutcome = "promoted" if promoted else "cancelled"
            ended = opened.canaries.end(canary.id, outcome, Note(user_name(), reason))
            info = canary_info(ended, _evidence(opened, [ended.id])[ended.id])
    if as_json:
        return print_json(_record(info))
    now = info.canary if promoted else info.stable
    print(f"{info.ref}: canary {info.status}, the alias points at version {now}")


def _move(
    name: str, alias: str, version: str, expect: int | None, registry: str | None,
    server: str | None, *, as_json: bool,
) -> None:  # fmt: skip
    from hub.canary_calls import set_alias
    from hub.registry import Note

    if server is not None:
        with _client(server) as client:
            number = _number(name, version, lambda ref: client.get_adapter(ref).version)
            expected = _remote_version(client, name, alias) if expect is None else expect or None
            set_alias(client, name, alias, number, expected)
    else:
        with existing_registry(registry) as opened:
            number = _number(name, version, lambda ref: _resolved(opened, name, ref))
            state = opened.aliases(name).get(alias)
            current = None if state is None else state.version
            expected = current if expect is None else expect or None
            opened.set_alias(name, alias, number, expected, Note(user_name(), "hub alias set"))
    if as_json:
        return print_json({"name": name, "alias": alias, "from": expected, "to": number})
    print(f"{name}@{alias}: {expected or _NOTHING} → {number}")


def _start(
    name: str, alias: str, version: str, share: float, promote_after: int, expect: int | None,
    registry: str | None, server: str | None,
) -> CanaryInfo:  # fmt: skip
    from hub.canary_calls import canary_info, start_canary
    from hub.registry import Note

    if server is not None:
        with _client(server) as client:
            number = _number(name, version, lambda ref: client.get_adapter(ref).version)
            return start_canary(
                client, name, alias, number, share, promote_after=promote_after, expected=expect
            )
    with existing_registry(registry) as opened:
        number = _number(name, version, lambda ref: _resolved(opened, name, ref))
        started = opened.canaries.start(
            name, alias, number, share, promote_after=promote_after, expected=expect,
            note=Note(user_name()),
        )  # fmt: skip
    return canary_info(started, {})


def _named(ref: str) -> tuple[str, str]:
    """Return name and alias of "name@alias".

    Raises:
        RefError: It is something else.
    """
    from hub.errors import RefError

    name, at, alias = ref.strip().partition("@")
    if not at or not name or not alias:
        raise RefError(f"{ref!r} is not an alias; write name@alias, such as en-ko@prod")
    return name, alias


def _share(text: str) -> float:
    """Read "10%", "10 %" or "0.1".

    Raises:
        InputError: It is not a number.
    """
    from hub.errors import InputError

    number, percent = text.strip(), text.strip().endswith("%")
    try:
        value = float(number.removesuffix("%"))
    except ValueError:
        raise InputError(
            f"--canary {text!r} is not a share; write 10% or 0.1", field="canary"
        ) from None
    return value / 100 if percent else value


def _number(name: str, version: str, resolve: Callable[[str], int]) -> int:
    """Return the number that a version was named by, or that a ref of it means."""
    if version.isascii() and version.isdigit():
        return int(version)
    return resolve(version if ":" in version or "@" in version else f"{name}@{version}")


def _resolved(registry: Registry, name: str, ref: str) -> int:
    """Return the number that a ref has within a name.

    Raises:
        InputError: It means a version of another adapter only.
    """
    from hub.errors import InputError

    found = registry.resolve(ref)
    same = [one for one in registry.versions(name) if one.digest == found.digest]
    if not same:
        raise InputError(f"{ref} is {found.ref}, not a version of {name}", field="version")
    return same[0].version


def _remote_version(client: HubClient, name: str, alias: str) -> int | None:
    from hub.errors import AdapterNotFoundError

    try:
        return client.get_adapter(f"{name}@{alias}").version
    except AdapterNotFoundError:
        return None


def _of_registry(registry: Registry, every: bool) -> list[CanaryInfo]:
    from hub.canary_calls import canary_info

    found = registry.canaries.all() if every else registry.canaries.running()
    sums = _evidence(registry, [canary.id for canary in found])
    return [canary_info(canary, sums[canary.id]) for canary in found]


def _evidence(registry: Registry, ids: Sequence[int]) -> dict[int, dict[str, float]]:
    if not ids:
        return {}
    evidence = registry.evidence()
    try:
        return {number: evidence.read(number) for number in ids}
    finally:
        evidence.close()


def _row(info: CanaryInfo) -> tuple[str, ...]:
    stable, tried = info.arms["stable"].requests, info.arms["canary"].requests
    return (
        info.ref,
        f"{100 * info.fraction:g} %",
        str(info.stable),
        str(info.canary),
        f"{stable + tried:,}",
        f"{tried:,}",
        f"{info.evidence:.2f} of 2",
        info.status.replace("_", " "),
        info.reason or _NOTHING,
    )


def _means(info: CanaryInfo) -> list[tuple[str, ...]]:
    stable, tried = info.arms["stable"].means, info.arms["canary"].means
    names = list(dict.fromkeys((*stable, *tried)))
    return [
        (name.replace("_", " "), *(_value(means.get(name)) for means in (stable, tried)))
        for name in names
    ]


def _value(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.3f}"


def _record(info: CanaryInfo) -> dict[str, object]:
    ended = None if info.ended_at is None else info.ended_at.isoformat()
    return asdict(info) | {"started_at": info.started_at.isoformat(), "ended_at": ended}


@contextmanager
def _client(server: str) -> Iterator[HubClient]:
    from hub.commands.residency import client_of

    with client_of(server, 30.0) as client:
        yield client
