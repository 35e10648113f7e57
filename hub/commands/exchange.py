"""`hub adapters import`: adapters in from elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.commands.adapters import (
    JsonFlag,
    RegistryFlag,
    adapters_app,
    opened_registry,
    print_json,
    version_record,
)

__all__ = ["adapters_app"]


@adapters_app.command("import")
def import_foreign(
    source: Annotated[
        str,
        typer.Argument(metavar="FOLDER|ID", help="PEFT folder, or owner/name[@revision]."),
    ],
    pair: Annotated[str, typer.Option(help="What it translates, such as en-ko.")],
    base: Annotated[
        str | None, typer.Option(help="Base that it was trained on; HUB_BASE otherwise.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Adapter name; pair.method otherwise.")] = None,
    alias: Annotated[
        list[str] | None, typer.Option(help="Also point this alias at it; may be repeated.")
    ] = None,
    registry: RegistryFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Import a PEFT adapter made elsewhere: check it against base and PEFT, and publish it."""
    from hub.bases.licence import licence_text
    from hub.console import note
    from hub.languages import LanguagePair
    from hub.refs import check_alias, check_name
    from hub.registry.exchange.importing import import_adapter
    from hub.settings import load_settings

    checked = LanguagePair.parse(pair)
    for given, check in ((name, check_name), *((each, check_alias) for each in alias or ())):
        if given is not None:
            check(given)
    settings = load_settings({"registry": registry, "base": base})
    with opened_registry(settings.registry) as opened:
        made = import_adapter(
            opened, source, checked, base_ref=settings.base, name=name or "", aliases=alias or ()
        )
    for line in made.told:
        note(line)
    found = made.comparison
    note(
        f"equal to PEFT on {found.lines} lines, {found.tokens} tokens, log-probabilities within "
        f"{found.drift:.1g}; {found.changed} lines differ from the base's"
    )
    note(f"base licence: {licence_text(made.version.manifest.base.licence)}")
    if as_json:
        print_json(version_record(made.version))
    else:
        print(f"{made.version.ref} {made.version.digest}")
