"""`hub bases`: build a small base model, and show what one is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from training.pretrain.recipe import BaseRecipe

bases_app = typer.Typer(help="Build and inspect base models.", no_args_is_help=True)


@bases_app.command("build")
def build(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the base is built.")],
    languages: Annotated[
        str, typer.Option(help="BCP-47 codes, separated by commas; the embedded base's if empty.")
    ] = "",
    weak: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LANGUAGE=SHARE",
            help="Share of the usual sampling weight, such as ko=0.05; may be repeated. "
            "The embedded base's (ko and nl) if neither this nor --languages is given.",
        ),
    ] = None,
    updates: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(min=64, help="Target tokens per update.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same data and start.")] = 0,
) -> None:
    """Pre-train a many-to-many base on CLDR; run again after an interruption to go on."""
    recipe = _recipe(languages, weak or [], updates, batch_tokens, seed)
    from training.model import quiet_libraries

    with quiet_libraries():
        from training.pretrain.build import build_base

    build_base(recipe, folder)
    show(str(folder), as_json=False)


@bases_app.command("show")
def show(
    ref: Annotated[str, typer.Argument(metavar="BASE", help="embedded, a folder, or an id.")] = (
        "embedded"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a base: identity, size, languages, and its scores where it was built here."""
    from hub.bases import open_base
    from hub.console import print_table

    base = open_base(ref)
    facts = {
        "base": base.name,
        "digest": base.digest,
        "family": base.family,
        "parameters": base.parameters,
        "languages": list(base.record.get("languages", [])),
        "weak": dict(base.record.get("recipe", {}).get("weak", {})),
        "licence": base.record.get("licence", "unknown"),
    }
    scores = base.record.get("scores", [])
    if as_json:
        typer.echo(json.dumps(facts | {"scores": scores}, ensure_ascii=False, indent=2))
        return
    print_table(("field", "value"), [(name, _text(value)) for name, value in facts.items()])
    if scores:
        print_table(
            ("pair", "metric", ">value", ">items", "signature"),
            [
                (s["pair"], s["metric"], f"{s['value']:.2f}", str(s["items"]), s["signature"])
                for s in scores
            ],
        )


def _recipe(
    languages: str, weak: list[str], updates: int | None, batch_tokens: int | None, seed: int
) -> BaseRecipe:
    """Return the embedded base's recipe with what the user said differently."""
    from dataclasses import replace

    from hub.errors import LanguageError
    from hub.languages import canonical, m2m_code
    from training.corpora.cldr import locale_of
    from training.pretrain.recipe import BaseRecipe

    recipe = BaseRecipe(seed=seed)
    if languages:
        codes = tuple(dict.fromkeys(canonical(code.strip()) for code in languages.split(",")))
        if len(codes) < 2:
            raise LanguageError(f"--languages {languages!r} names {len(codes)}; give two or more")
        recipe = replace(recipe, languages=codes, weak={})
    if weak:
        recipe = replace(recipe, weak=dict(_share(text) for text in weak))
    for code in (*recipe.languages, *recipe.weak):
        locale_of(code)
        m2m_code(code)
        if code not in recipe.languages:
            raise LanguageError(f"--weak names {code!r}, which is not among the languages")
    return replace(
        recipe,
        updates=updates or recipe.updates,
        batch_tokens=batch_tokens or recipe.batch_tokens,
    )


def _share(text: str) -> tuple[str, float]:
    from hub.errors import SettingsError
    from hub.languages import canonical

    language, _, number = text.partition("=")
    try:
        share = float(number)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise SettingsError(f"--weak {text!r}: write LANGUAGE=SHARE with a share in (0, 1]")
    return canonical(language), share


def _text(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return " ".join(value)
    if isinstance(value, dict):
        return " ".join(f"{name}={share}" for name, share in value.items())
    return str(value)
