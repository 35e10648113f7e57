"""`hub bases`: fetch, list and show base models; `build` is training's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hub.commands.groups import command_group

if TYPE_CHECKING:
    from hub.bases import Base
    from hub.bases.inventory import Kept

BASES_HELP: Final = "Fetch, convert, build and inspect base models."
_EXAMPLE: Final = 0.01
"""The budget that `show` gives sizes for."""
_NOTHING: Final = "–"

BaseArgument = Annotated[
    str, typer.Argument(metavar="BASE", help="embedded, a folder, ID or ID@REVISION.")
]
LanguagesFlag = Annotated[
    str | None,
    typer.Option(help="Languages of a base that does not say them: en,de or en=English,de=German."),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def register_bases(app: typer.Typer) -> None:
    """Mount `hub bases pull`, `list` and `show`."""
    group = command_group(app, "bases", BASES_HELP)
    group.command("pull")(pull)
    group.command("list")(list_bases)
    group.command("show")(show)


def pull(ref: BaseArgument, languages: LanguagesFlag = None, as_json: JsonFlag = False) -> None:
    """Fetch a base from the Hugging Face Hub, convert it if need be, and say what it is."""
    _print(_facts(_opened(ref, languages)), as_json)


def _opened(ref: str, languages: str | None) -> Base:
    """Open a base, and remember what was said of its languages."""
    from hub.bases import open_base
    from hub.bases.languages import remember_languages

    base = open_base(ref)
    if languages:
        remember_languages(base, languages)
    return base


def list_bases(as_json: JsonFlag = False) -> None:
    """List the bases on this machine: embedded, fetched and converted ones."""
    from hub.bases.inventory import kept_bases
    from hub.console import print_table
    from hub.settings import load_settings

    found = kept_bases(load_settings().cache)
    if as_json:
        _print_json([_kept_record(each) for each in found])
        return
    print_table(
        ("base", "kind", "family", ">bytes", "folder"),
        [
            (each.name, each.kind, each.family, f"{each.bytes:,}", str(each.folder))
            for each in found
        ],
    )


def show(
    ref: BaseArgument = "embedded", languages: LanguagesFlag = None, as_json: JsonFlag = False
) -> None:
    """Show a base: identity, size, languages, licence, and its scores where it was built here."""
    from hub.console import print_table

    base = _opened(ref, languages)
    facts = _facts(base) | {
        "weak": dict(base.record.get("recipe", {}).get("weak", {})),
        "dimensions": _dimensions(base),
        "budget": _budget(base),
        "files": {path.name: path.stat().st_size for path in base.weights.files},
    }
    scores = base.record.get("scores", [])
    _print(facts | ({"scores": scores} if as_json else {}), as_json)
    if scores and not as_json:
        print_table(
            ("pair", "metric", ">value", ">items", "signature"),
            [
                (s["pair"], s["metric"], f"{s['value']:.2f}", str(s["items"]), s["signature"])
                for s in scores
            ],
        )


def _facts(base: Base) -> dict[str, Any]:
    """Return what identifies and describes a base, in the order in which it is printed."""
    from hub.bases.languages import said_text

    languages = _languages(base)
    facts: dict[str, Any] = {
        "base": base.name,
        "digest": base.digest,
        "commit": base.commit,
        "family": base.family,
        "parameters": base.parameters,
        "weights": dict(sorted(_dtypes(base).items())),
        "licence": base.licence,
        "folder": str(base.folder),
        "converted from": "" if base.origin is None else str(base.origin),
    }
    if isinstance(languages, str):
        return facts | {"languages": [], "no languages": languages}
    said = said_text(base)
    return facts | {"languages": languages} | ({"said languages": said} if said else {})


def _languages(base: Base) -> list[str] | str:
    """Return the languages of a base, or why it has none."""
    from hub.bases.tokenizer import load_tokenizer
    from hub.errors import HubError

    try:
        return sorted(load_tokenizer(base).languages)
    except HubError as error:
        return error.message


def _dtypes(base: Base) -> Mapping[str, int]:
    """Return the bytes of a base's weights by their dtype."""
    found: dict[str, int] = {}
    for place in base.tensors.values():
        found[place.dtype] = found.get(place.dtype, 0) + place.bytes
    return found


def _dimensions(base: Base) -> dict[str, int]:
    dims = base.dimensions
    return {
        "d_model": dims.d_model,
        "encoder layers": dims.encoder_layers,
        "decoder layers": dims.decoder_layers,
        "feed-forward": dims.encoder_ffn,
        "vocabulary": dims.vocab_size,
        "positions": dims.max_positions,
    }


def _budget(base: Base) -> dict[str, int | None]:
    """Return the sizes that a budget of 1 % buys."""
    from hub.budget import solve
    from hub.errors import BudgetError

    found: dict[str, int | None] = {}
    for method, size in ("bottleneck", "width"), ("lora", "rank"):
        name = f"{method} {size} at {_EXAMPLE:.0%}"
        try:
            found[name] = solve(method, _EXAMPLE, base.dimensions).size
        except BudgetError:
            found[name] = None
    return found


def _kept_record(kept: Kept) -> dict[str, Any]:
    return {
        "base": kept.name,
        "kind": kept.kind,
        "family": kept.family,
        "bytes": kept.bytes,
        "folder": str(kept.folder),
    }


def _print(facts: Mapping[str, Any], as_json: bool) -> None:
    from hub.bases.licence import licence_text
    from hub.console import print_table

    if as_json:
        _print_json(facts)
        return
    told = {**facts, "licence": licence_text(facts["licence"])}
    shown = {name: value for name, value in told.items() if value not in ("", {}, [])}
    print_table(("field", "value"), [(name, _text(name, value)) for name, value in shown.items()])


def _text(name: str, value: object) -> str:
    if isinstance(value, list):
        counted = f"{len(value)}: " if name == "languages" else ""
        return counted + " ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(inner)}" for key, inner in value.items())
    return _value(value)


def _value(value: object) -> str:
    if value is None:
        return _NOTHING
    return f"{value:,}" if isinstance(value, int) else str(value)


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))
