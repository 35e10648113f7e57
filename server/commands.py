"""`hub serve` and `hub bench`: wiring only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from hub.commands.setting_flags import ConfigFlag, SettingsCommand, settings_of

if TYPE_CHECKING:
    from hub.settings import Settings
    from server.application import Application, Reread
    from server.core import Core
    from server.telemetry.logs import Announcer


SWITCH_SECONDS: Final = 0.0001
"""How long another thread may keep the engine's from running Python; the default is 0.005."""


def register(app: typer.Typer) -> None:
    """Mount the server's commands."""
    from server.bench.commands import register_bench

    app.command("serve", cls=SettingsCommand)(serve)
    register_bench(app)


def serve(
    context: typer.Context,
    config: ConfigFlag = None,
    announce: Annotated[
        str,
        typer.Option(help="json: also print one line of JSON with the addresses when ready."),
    ] = "text",
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config", help="Print the effective settings and their sources as TOML; exit."
        ),
    ] = False,
    print_routes: Annotated[
        bool, typer.Option("--print-routes", help="Show the routing table and exit.")
    ] = False,
) -> None:
    """Serve translations over gRPC, with any adapter of the registry, until Ctrl-C.

    SIGTERM or Ctrl-C drains: running requests finish, then the server exits with 0. A second
    signal stops at once. SIGHUP reads what can change while it runs again. Every setting is a
    flag, a variable HUB_… and a key of the settings file, in this order.
    """
    from hub.errors import SettingsError
    from hub.settings_text import settings_toml

    if announce not in ("text", "json"):
        raise SettingsError(f"--announce {announce!r} is not known; use text or json")
    effective = settings_of(context, config)
    if print_config:
        typer.echo(settings_toml(effective), nl=False)
        return
    if print_routes:
        return _print_routes(effective.settings)
    from server.application import Reread

    reread = Reread(
        lambda: settings_of(context, config).settings,
        (effective.file,) if effective.file else (),
    )
    raise typer.Exit(_run(effective.settings, reread, announce_json=announce == "json"))


def _print_routes(settings: Settings) -> None:
    """Print where requests go that name no adapter; nothing is loaded."""
    from hub.bases import open_base
    from hub.console import note, print_table
    from hub.registry import Registry
    from server.translation.routes import open_book

    base = open_base(settings.base, cache=settings.cache)
    with Registry.open(settings.registry) as registry:
        entries = open_book(base, registry, settings)().sorted()
    if not entries:
        note(
            f"no routes: no adapter of {base.name} has the alias {settings.route_alias!r}; "
            "requests that name none are translated by the base"
        )
        return
    rows = [
        (
            str(entry.pair), entry.domain or "any", entry.ref, entry.version.ref,
            " ".join(entry.rungs), " ".join(entry.shadowed),
        )
        for entry in entries
    ]  # fmt: skip
    print_table(("pair", "domain", "adapter", "version", "rungs", "not chosen"), rows)


def _run(settings: Settings, reread: Reread, *, announce_json: bool) -> int:
    import asyncio
    import sys

    from prometheus_client import disable_created_metrics

    from server.telemetry.logs import configure_logging

    sys.setswitchinterval(SWITCH_SECONDS)
    configure_logging(settings.log_format, settings.log_level)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return asyncio.run(_serve(settings, reread, announce_json=announce_json))


async def _serve(settings: Settings, reread: Reread, *, announce_json: bool) -> int:
    from hub.errors import HubError
    from server.application import Application
    from server.signals import Signals
    from server.telemetry.logs import Announcer

    signals, told = Signals.install(), Announcer(settings.log_format)
    application = Application(settings, reread)
    try:
        await application.listen()
        ports = application.ports
        told.say(
            "listening",
            f"listening on {ports.grpc}, loading base {settings.base!r} …",
            grpc=ports.grpc,
            metrics=ports.metrics,
            base=settings.base,
        )
        if not await signals.race(application.load()):
            _leave(told, "stopped while loading", 0)
        _freeze()
        signals.on_hangup.append(application.reload)
        _announce(application, told, as_json=announce_json)
        await signals.first.wait()
        told.say(
            "draining",
            "draining: running requests finish, new ones are refused; a second signal stops now",
        )
        if not await signals.race_second(application.stop(application.settings.drain_seconds)):
            _leave(told, "stopped at once; running requests were cut off", signals.exit_code)
    except HubError as error:
        await application.stop(0)
        if not told.failed(error):
            raise
        return error.exit_code
    except BaseException:
        await application.stop(0)
        raise
    told.say("stopped", "stopped")
    return 0


def _freeze() -> None:
    """Take what has been loaded out of garbage collection.

    It stays for as long as the process does, and looking through it holds up every call that comes
    meanwhile for a tenth of a second.
    """
    import gc

    gc.collect()
    gc.freeze()


def _leave(told: Announcer, message: str, code: int) -> NoReturn:
    """End the process now, not waiting for threads that load or compute."""
    import os
    import sys

    told.say("stopped", message)
    sys.stderr.flush()
    os._exit(code)


def _kernels() -> str:
    from hub.engine import native
    from hub.isa import VARIABLE, forced_isa

    if not native.available():
        return "portable and slow: install the package where there is a C compiler"
    return native.variant() + (f", as {VARIABLE} says" if forced_isa() else "")


def _search_line(core: Core) -> str:
    """Say how requests are decoded that do not choose, and what that costs."""
    own, used = core.base.architecture.decoding.beam_size, core.translator.limits.search
    longest = f", at most {used.max_output_tokens} tokens" if used.max_output_tokens else ""
    if used.beam_size == 1:
        published = f"; the base was published with beam {own} (--search base)" if own > 1 else ""
        return f"greedy{longest}{published}"
    narrowed = (
        f", narrowed from {own} by max_beam or max_batch_rows" if own > used.beam_size else ""
    )
    return (
        f"beam {used.beam_size}, the base's own{narrowed}, length penalty {used.length_penalty:g}"
        f"{longest}; {used.beam_size} rows a text (--search greedy: one, and faster)"
    )


def _announce(application: Application, told: Announcer, *, as_json: bool) -> None:
    """Say that the server is ready: to people on stderr, to programs on stdout."""
    import json

    told.table("ready", _facts(application))
    if as_json:
        ports = application.ports
        ready = {"event": "ready", "grpc": ports.grpc, "metrics": ports.metrics}
        ready |= {"http": ports.http} if ports.http else {}
        print(json.dumps(ready), flush=True)


def _facts(application: Application) -> dict[str, str]:
    """Return what a server says of itself when it is ready, in the order in which it is told."""
    ports, core = application.ports, application.core
    settings = core.settings
    scheme = "http" if settings.tls_cert is None else "https"
    facts = {
        "serving gRPC on": ports.grpc,
        **({"serving HTTP on": f"{scheme}://{ports.http}"} if ports.http else {}),
        "metrics on": f"http://{ports.metrics}/metrics",
        "base": f"{core.base.name} ({core.base.digest[:19]}…), {settings.quantization} on "
        f"{settings.device}",
    }
    if settings.quantization == "int8":
        facts["kernels"] = _kernels()
    if settings.vocabulary == "language":
        facts["vocabulary"] = "each target language's own tokens, as the log says"
    texts = "with texts" if settings.log_texts else "without texts"
    return facts | {
        "search": _search_line(core),
        "languages": ", ".join(sorted(core.translator.router.languages)),
        "registry": f"{settings.registry} ({len(core.registry.names())} adapters)",
        "limits": f"{settings.slots} slots, {settings.max_batch_rows} rows per step, "
        f"{settings.queue} texts waiting",
        "log": f"{settings.log_format}, {texts}",
        "reloads": f"{', '.join(application.reloads.parts) or 'nothing'} on SIGHUP or change",
        "try": f'hub translate --server {ports.grpc} --pair en-ko "Monday"',
    }
