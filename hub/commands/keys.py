"""`hub keys`: make, list and remove the keys of a server's callers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FileFlag = Annotated[
    str | None, typer.Option("--keys", help="The file; the setting keys (HUB_KEYS) otherwise.")
]

keys_app = typer.Typer(help="Make, list and remove callers' keys.", no_args_is_help=True)


@keys_app.command("add")
def add(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Whose key it is.")],
    scope: Annotated[list[str], typer.Option(help="translate, feedback or admin; repeatable.")],
    adapter: Annotated[
        list[str] | None,
        typer.Option(help="Names of adapters the tenant may use, with * and ?; repeatable."),
    ] = None,
    requests_per_minute: Annotated[
        float | None, typer.Option(help="Calls that the tenant may make in a minute.")
    ] = None,
    characters_per_minute: Annotated[
        float | None, typer.Option(help="Characters that it may send in a minute.")
    ] = None,
    keys: FileFlag = None,
) -> None:
    """Make a key and print it, once: the file has its digest alone.

    What is said of the tenant holds for all its keys. A running server takes the file up within a
    second.
    """
    from hub.console import note
    from hub.keys import KeyFile

    path = _path(keys)
    file = KeyFile.read(path) if path.exists() else KeyFile()
    file, record, key = file.added(tenant, scope)
    file.with_tenant(
        tenant,
        adapters=adapter or (),
        requests_per_minute=requests_per_minute,
        characters_per_minute=characters_per_minute,
    ).write(path)
    note(f"key {record.id} of tenant {tenant}; it is shown this once:")
    print(key)


@keys_app.command("list")
def list_keys(keys: FileFlag = None) -> None:
    """List the keys: who has them and what for, not the keys themselves."""
    from hub.console import print_table
    from hub.keys import KeyFile, TenantRecord

    file = KeyFile.read(_path(keys))
    print_table(
        ("id", "tenant", "scopes", "adapters", ">requests/min", ">characters/min"),
        [
            (
                key.id, key.tenant, " ".join(key.scopes), " ".join(tenant.adapters),
                _limit(tenant.requests_per_minute), _limit(tenant.characters_per_minute),
            )
            for key in file.keys
            for tenant in [file.tenants.get(key.tenant, TenantRecord())]
        ],
    )  # fmt: skip


@keys_app.command("remove")
def remove(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="From `hub keys list`.")],
    keys: FileFlag = None,
) -> None:
    """Remove a key; a running server refuses it within a second."""
    from hub.console import note
    from hub.keys import KeyFile

    path = _path(keys)
    KeyFile.read(path).without(identifier).write(path)
    note(f"key {identifier} is removed from {path}")


def _limit(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _path(flag: str | None) -> Path:
    from hub.errors import SettingsError
    from hub.settings import load_settings

    path = load_settings({"keys": flag}).keys
    if path is None:
        raise SettingsError("no file of keys is named; give --keys FILE, or set HUB_KEYS")
    return path
