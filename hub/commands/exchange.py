"""`hub adapters import`, `export` and `merge`: adapters in from elsewhere, and out again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from hub.commands.adapters import (
    JsonFlag,
    RegistryFlag,
    adapters_app,
    existing_registry,
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


@adapters_app.command("export")
def export_adapter(
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="name, name@alias, name:version or sha256:…")
    ],
    to: Annotated[
        str,
        typer.Option(
            help="peft: for PEFT. hf: the Hub's layout. ctranslate2: a model of the base with the "
            "adapter merged in. base: the same as a transformers folder."
        ),
    ],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    base: Annotated[
        str | None, typer.Option(help="Where the base is; the name in the manifest otherwise.")
    ] = None,
    quantization: Annotated[
        str, typer.Option(help="Of a CTranslate2 model: int8, int8_float32 or float32.")
    ] = "int8",
    push_to: Annotated[
        str | None,
        typer.Option("--push", metavar="ORG/NAME", help="Also upload it to the Hub (--to hf)."),
    ] = None,
    private: Annotated[bool, typer.Option(help="A repository that is made is private.")] = False,
    registry: RegistryFlag = None,
) -> None:
    """Write an adapter for others: PEFT, the Hugging Face Hub, transformers or CTranslate2."""
    from hub.bases import open_base
    from hub.bases.licence import licence_text
    from hub.console import note
    from hub.errors import InputError
    from hub.registry.exchange.outgoing import LAYOUTS, Outgoing, export, layout_of
    from hub.registry.exchange.push import check_repository, push

    layout = layout_of(to)
    if push_to is not None:
        if layout != "hf":
            raise InputError("--push goes with --to hf", field="push")
        check_repository(push_to)
    with existing_registry(registry) as opened:
        version = opened.resolve(ref)
        folder = opened.folder(version)
        manifest = version.manifest
        merges = layout in LAYOUTS[2:]
        found = open_base(base or manifest.base.name) if merges or base else None
        leaving = Outgoing(version.ref, version.digest, manifest, folder, found)
        remark = export(leaving, layout, out, quantization)
    note(f"base licence: {licence_text(manifest.base.licence)}")
    if remark:
        note(remark)
    if push_to is None:
        print(out)
        return
    with _undone(out):
        print(push(out, push_to, private=private, message=f"{version.ref} {version.digest}"))


@contextmanager
def _undone(out: Path) -> Iterator[None]:
    """Remove an export whose push fails, so that the same command can be run again."""
    import shutil

    from hub.errors import HubError

    try:
        yield
    except HubError:
        shutil.rmtree(out, ignore_errors=True)
        raise


@adapters_app.command("merge")
def merge(
    parents: Annotated[
        list[str], typer.Argument(metavar="REF=WEIGHT…", help="Adapters with their weights.")
    ],
    name: Annotated[str, typer.Option(help="Name of the new adapter.")],
    method: Annotated[
        str,
        typer.Option(
            help="sum: the exact weighted sum, of all ranks together. linear, ties, dare_linear, "
            "dare_ties, magnitude_prune: PEFT's of that name."
        ),
    ] = "sum",
    base: Annotated[
        str | None, typer.Option(help="Where the base is; the name in the manifest otherwise.")
    ] = None,
    alias: Annotated[
        list[str] | None, typer.Option(help="Also point this alias at it; may be repeated.")
    ] = None,
    registry: RegistryFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Combine LoRAs of one pair into a new adapter: hub adapters merge A=0.7 B=0.3 --name C."""
    from hub.bases import open_base
    from hub.refs import check_alias, check_name
    from hub.registry.exchange.combining import merge_adapters, parse_parents

    asked = parse_parents(parents)
    check_name(name)
    for each in alias or ():
        check_alias(each)
    with existing_registry(registry) as opened:
        found = open_base(base or opened.resolve(asked[0].ref).manifest.base.name)
        version = merge_adapters(
            opened, asked, base=found, method=method, name=name, aliases=alias or ()
        )
    if as_json:
        print_json(version_record(version))
    else:
        print(f"{version.ref} {version.digest}")
