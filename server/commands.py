"""`hub serve` and `hub bench`: wiring only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

if TYPE_CHECKING:
    from hub.settings import Settings
    from server.application import Application
    from server.core import Core


SWITCH_SECONDS: Final = 0.0001
"""How long another thread may keep the engine's from running Python; the default is 0.005."""


def register(app: typer.Typer) -> None:
    """Mount the server's commands."""
    from server.bench.commands import register_bench

    app.command("serve")(serve)
    register_bench(app)


def serve(
    registry: Annotated[
        str | None, typer.Option(help="Folder of the registry whose adapters are served.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Base model: embedded, a folder or a Hugging Face id.")
    ] = None,
    languages: Annotated[
        str | None,
        typer.Option(help="Languages of a base that does not say them: en,de or en=English,…."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="gRPC port; 0 picks a free one.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Prometheus port; 0 picks a free one.")
    ] = None,
    keys: Annotated[
        str | None, typer.Option(help="File of callers' keys; see `hub keys add`.")
    ] = None,
    tls_cert: Annotated[
        str | None, typer.Option(help="Certificate chain of the server (PEM).")
    ] = None,
    tls_key: Annotated[str | None, typer.Option(help="Private key of it (PEM).")] = None,
    tls_client_ca: Annotated[
        str | None, typer.Option(help="Authorities whose client certificates are required (PEM).")
    ] = None,
    insecure_no_auth: Annotated[
        str | None,
        typer.Option(help="yes-really: serve other machines without asking who calls."),
    ] = None,
    quantization: Annotated[
        str | None,
        typer.Option(
            help="Numbers of the base: auto, int8 (CPU), bfloat16, float16, float32, bnb-int8, nf4."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where the engine runs: auto, cpu, cuda or cuda:n.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of the engine; all when not given.")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            help="Search of requests that name none: base (what the base was published with) or "
            "greedy."
        ),
    ] = None,
    routes: Annotated[
        str | None, typer.Option(help="File of routes for requests that name no adapter (TOML).")
    ] = None,
    print_routes: Annotated[
        bool, typer.Option("--print-routes", help="Show the routing table and exit.")
    ] = False,
    slots: Annotated[
        int | None, typer.Option(help="Adapters that can take part in one batch.")
    ] = None,
    max_batch_rows: Annotated[
        int | None, typer.Option(help="Rows of one step, beams counted.")
    ] = None,
    queue: Annotated[int | None, typer.Option(help="Texts that may wait.")] = None,
    drain_seconds: Annotated[
        float | None, typer.Option(help="How long to wait for running requests at shutdown.")
    ] = None,
    announce: Annotated[
        str,
        typer.Option(help="json: also print one line of JSON with the addresses when ready."),
    ] = "text",
) -> None:
    """Serve translations over gRPC, with any adapter of the registry, until Ctrl-C.

    SIGTERM or Ctrl-C drains: running requests finish, then the server exits with 0. A second
    signal stops at once. Every setting can also be given as HUB_… or in hub.toml.
    """
    from hub.errors import SettingsError
    from hub.settings import load_settings

    if announce not in ("text", "json"):
        raise SettingsError(f"--announce {announce!r} is not known; use text or json")
    settings = load_settings(
        {
            "registry": registry,
            "base": base,
            "languages": languages,
            "host": host,
            "port": port,
            "metrics_port": metrics_port,
            "keys": keys,
            "tls_cert": tls_cert,
            "tls_key": tls_key,
            "tls_client_ca": tls_client_ca,
            "insecure_no_auth": insecure_no_auth,
            "quantization": quantization,
            "device": device,
            "threads": threads,
            "search": search,
            "routes": routes,
            "slots": slots,
            "max_batch_rows": max_batch_rows,
            "queue": queue,
            "drain_seconds": drain_seconds,
        }
    )
    if print_routes:
        return _print_routes(settings)
    raise typer.Exit(_run(settings, announce_json=announce == "json"))


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
