"""`hub serve` and `hub bench`: wiring only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from hub.commands.setting_flags import ConfigFlag, SettingsCommand, settings_of

if TYPE_CHECKING:
    from hub.settings import Settings
    from server.application import Application
    from server.core import Core


SWITCH_SECONDS: Final = 0.0005
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
    raise typer.Exit(_run(effective.settings, announce_json=announce == "json"))


def _run(settings: Settings, *, announce_json: bool) -> int:
    import asyncio
    import logging
    import sys

    from prometheus_client import disable_created_metrics

    sys.setswitchinterval(SWITCH_SECONDS)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    disable_created_metrics()  # type: ignore[no-untyped-call]
    return asyncio.run(_serve(settings, announce_json=announce_json))


async def _serve(settings: Settings, *, announce_json: bool) -> int:
    from hub.console import note
    from server.application import Application
    from server.signals import Signals

    signals = Signals.install()
    application = Application(settings)
    try:
        await application.listen()
        note(f"listening on {application.ports.grpc}, loading base {settings.base!r} …")
        if not await signals.race(application.load()):
            _leave("stopped while loading", 0)
        _announce(application, as_json=announce_json)
        await signals.first.wait()
        note("draining: running requests finish, new ones are refused; a second signal stops now")
        if not await signals.race_second(application.stop(settings.drain_seconds)):
            _leave("stopped at once; running requests were cut off", signals.exit_code)
    except BaseException:
        await application.stop(0)
        raise
    note("stopped")
    return 0


def _leave(message: str, code: int) -> NoReturn:
    """End the process now, not waiting for threads that load or compute."""
    import os
    import sys

    from hub.console import note

    note(message)
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


def _announce(application: Application, *, as_json: bool) -> None:
    """Say that the server is ready: to people on stderr, to programs on stdout."""
    import json

    from hub.console import note

    ports, core = application.ports, application.core
    settings = core.settings
    languages = ", ".join(sorted(core.translator.router.languages))
    note(f"serving gRPC on   {ports.grpc}")
    note(f"metrics on        http://{ports.metrics}/metrics")
    note(
        f"base              {core.base.name} ({core.base.digest[:19]}…), {settings.quantization} "
        f"on {settings.device}"
    )
    if settings.quantization == "int8":
        note(f"kernels           {_kernels()}")
    note(f"search            {_search_line(core)}")
    note(f"languages         {languages}")
    note(f"registry          {settings.registry} ({len(core.registry.names())} adapters)")
    note(
        f"limits            {settings.slots} slots, {settings.max_batch_rows} rows per step, "
        f"{settings.queue} texts waiting"
    )
    note(f'try               hub translate --server {ports.grpc} --pair en-ko "Monday"')
    if as_json:
        ready = {"event": "ready", "grpc": ports.grpc, "metrics": ports.metrics}
        print(json.dumps(ready), flush=True)
