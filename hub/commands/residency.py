"""`hub adapters loaded`, `load` and `unload`: what a running server holds in memory."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hub.commands.adapters import JsonFlag, print_json
from hub.commands.exchange import adapters_app

if TYPE_CHECKING:
    from hub.client import HubClient
    from hub.replies import LoadedAdapterInfo

__all__ = ["adapters_app"]

_COLUMNS: Final = ("adapter", "tier", ">slot", ">bytes", ">running", "pinned", "digest")

ServerFlag = Annotated[
    str | None, typer.Option(help="Address of the server; HUB_HOST:HUB_PORT by default.")
]
TimeoutFlag = Annotated[
    float, typer.Option(min=0.001, max=86_400, help="Seconds that the call may take.")
]
RefArgument = Annotated[
    str, typer.Argument(metavar="REF", help="name, name@alias, name:version or sha256:…")
]


@adapters_app.command("loaded")
def list_loaded(
    server: ServerFlag = None, timeout: TimeoutFlag = 30.0, as_json: JsonFlag = False
) -> None:
    """List the adapters in a running server's memory, those in slots first."""
    from hub.console import print_table

    with client_of(server, timeout) as client:
        found = client.list_loaded_adapters()
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        print_table(_COLUMNS, [_row(one) for one in found])


@adapters_app.command("load")
def load(
    ref: RefArgument,
    pin: Annotated[
        bool, typer.Option("--pin", help="Keep it in host memory until it is unloaded.")
    ] = False,
    server: ServerFlag = None,
    timeout: TimeoutFlag = 60.0,
    as_json: JsonFlag = False,
) -> None:
    """Load an adapter into a running server's memory before anybody asks for it."""
    with client_of(server, timeout) as client:
        loaded = client.load_adapter(ref, pin=pin)
    if as_json:
        print_json(asdict(loaded))
    else:
        pinned = ", pinned" if loaded.pinned else ""
        print(f"{_name(loaded)}: in {_place(loaded)}, {loaded.size_bytes:,} bytes{pinned}")


@adapters_app.command("unload")
def unload(
    ref: RefArgument,
    server: ServerFlag = None,
    timeout: TimeoutFlag = 30.0,
    as_json: JsonFlag = False,
) -> None:
    """Unpin an adapter and drop it from a running server's memory.

    Requests that run with it finish; the next one loads it again.
    """
    with client_of(server, timeout) as client:
        unloaded = client.unload_adapter(ref)
    if as_json:
        print_json({"adapter": ref, "unloaded": unloaded})
    else:
        print(f"{ref}: {'unloaded' if unloaded else 'was not in memory'}")


def client_of(server: str | None, timeout: float) -> HubClient:
    """Return a client of a server, with the key and the authorities of the environment."""
    import os

    from hub.client import HubClient, Tls
    from hub.commands.translate import default_server

    roots = os.environ.get("HUB_TLS_ROOTS", "")
    return HubClient(
        server or default_server(),
        timeout=timeout,
        key=os.environ.get("HUB_KEY", ""),
        tls=Tls(Path(roots)) if roots else None,
    )


def _row(loaded: LoadedAdapterInfo) -> tuple[str, ...]:
    return (
        loaded.adapter_version or "–",
        loaded.tier.lower(),
        str(loaded.slot or "–"),
        f"{loaded.size_bytes:,}",
        str(loaded.running_requests),
        "yes" if loaded.pinned else "no",
        loaded.digest,
    )


def _name(loaded: LoadedAdapterInfo) -> str:
    return loaded.adapter_version or loaded.digest


def _place(loaded: LoadedAdapterInfo) -> str:
    return f"slot {loaded.slot}" if loaded.slot else "host memory"
