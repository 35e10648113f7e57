"""`hub bases build`: pre-train a small base model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hub.commands.bases import BASES_HELP, show
from hub.commands.groups import command_group

if TYPE_CHECKING:
    from training.pretrain.recipe import BaseRecipe
    from training.pretrain.texts import FileText

HEAD: Final = 64
"""Width of an attention head, where the model's width is a multiple of it; else the smaller one."""
SMALL_HEAD: Final = 32


def register_pretraining(app: typer.Typer) -> None:
    """Mount `hub bases build` beside the hub's own commands of that group."""
    command_group(app, "bases", BASES_HELP).command("build")(build)


def build(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the base is built.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PAIR=SOURCE",
            help="Parallel text instead of CLDR, such as en-de=corpus.tsv, trained in both "
            "directions; repeatable. See hub corpus formats.",
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LANGUAGE=FILE",
            help="Text of one language, for the vocabulary alone; repeatable.",
        ),
    ] = None,
    clean: Annotated[
        list[str] | None,
        typer.Option(metavar="FILTER=VALUE", help="As of hub train; repeatable."),
    ] = None,
    licence: Annotated[str, typer.Option(help="Of the weights, given the data's.")] = "",
    languages: Annotated[
        str, typer.Option(help="CLDR: BCP-47 codes, with commas; the embedded base's if empty.")
    ] = "",
    weak: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LANGUAGE=SHARE",
            help="CLDR: share of the usual sampling weight, such as ko=0.05; repeatable. "
            "The embedded base's (ko and nl) if neither this nor --languages is given.",
        ),
    ] = None,
    vocabulary: Annotated[
        int | None, typer.Option(min=400, max=64_000, help="SentencePiece pieces.")
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            min=32,
            max=4096,
            help="d_model, a multiple of 32; the feed-forward is four times as wide, a head 64 or "
            "32. 256 if not given.",
        ),
    ] = None,
    layers: Annotated[
        int | None, typer.Option(min=1, max=48, help="Of the encoder, and of the decoder; 4.")
    ] = None,
    updates: Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(min=64, help="Target tokens per update.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same data and start.")] = 0,
) -> None:
    """Pre-train a many-to-many base on CLDR or files; run again after an interruption to go on."""
    asked = BaseOptions(
        languages, tuple(weak or ()), vocabulary, updates, batch_tokens, seed, width, layers
    )
    recipe = recipe_of(asked, given=bool(data))
    from training.loop.model import quiet_libraries

    with quiet_libraries():
        from training.pretrain.build import CLDR_LICENCE, build_base
        from training.pretrain.texts import CldrText

    if data:
        recipe, files = _with_files(recipe, data, text or [], clean or [])
        build_base(recipe, files, folder, licence or "unknown")
    else:
        _refuse_without_data({"--text": text, "--clean": clean, "--licence": licence})
        build_base(recipe, CldrText(recipe), folder, CLDR_LICENCE)
    show(str(folder), as_json=False)


@dataclass(frozen=True)
class BaseOptions:
    """What the user says differently from the embedded base's recipe."""

    languages: str = ""
    weak: tuple[str, ...] = ()
    vocabulary: int | None = None
    updates: int | None = None
    batch_tokens: int | None = None
    seed: int = 0
    width: int | None = None
    layers: int | None = None


def recipe_of(asked: BaseOptions, *, given: bool = False) -> BaseRecipe:
    """Return the embedded base's recipe with what the user said differently.

    Args:
        asked: The options.
        given: Whether files are trained on, which bring their languages along.

    Raises:
        LanguageError: A language is unknown to CLDR or M2M-100, or is weak but not there.
        SettingsError: An option goes with CLDR only.
    """
    from training.pretrain.recipe import BaseRecipe

    recipe = BaseRecipe(seed=asked.seed)
    if given:
        _refuse_with_data({"--languages": asked.languages, "--weak": asked.weak})
        recipe = replace(recipe, weak={})
    else:
        recipe = _with_cldr_languages(recipe, asked)
    return replace(
        _shaped(recipe, asked),
        vocabulary=asked.vocabulary or recipe.vocabulary,
        updates=asked.updates or recipe.updates,
        batch_tokens=asked.batch_tokens or recipe.batch_tokens,
    )


def _shaped(recipe: BaseRecipe, asked: BaseOptions) -> BaseRecipe:
    """Give the network the sizes that were asked for.

    Raises:
        SettingsError: The width cannot be cut into heads.
    """
    from hub.errors import SettingsError

    if asked.layers is not None:
        recipe = replace(recipe, encoder_layers=asked.layers, decoder_layers=asked.layers)
    if asked.width is None:
        return recipe
    head = SMALL_HEAD if asked.width % HEAD else HEAD
    if asked.width % head:
        raise SettingsError(
            f"--width {asked.width} cannot be cut into heads of {head}; give a multiple of {head}",
            field="width",
        )
    return replace(recipe, d_model=asked.width, ffn=4 * asked.width, heads=asked.width // head)


def _with_cldr_languages(recipe: BaseRecipe, asked: BaseOptions) -> BaseRecipe:
    from hub.errors import LanguageError
    from hub.languages import canonical, m2m_code
    from training.corpora.cldr import locale_of

    if asked.languages:
        codes = tuple(dict.fromkeys(canonical(code.strip()) for code in asked.languages.split(",")))
        if len(codes) < 2:
            raise LanguageError(
                f"--languages {asked.languages!r} names {len(codes)}; give two or more"
            )
        recipe = replace(recipe, languages=codes, weak={})
    if asked.weak:
        recipe = replace(recipe, weak=dict(_share(text) for text in asked.weak))
    for code in (*recipe.languages, *recipe.weak):
        locale_of(code)
        m2m_code(code)
        if code not in recipe.languages:
            raise LanguageError(f"--weak names {code!r}, which is not among the languages")
    return recipe


def _with_files(
    recipe: BaseRecipe, data: Sequence[str], text: Sequence[str], clean: Sequence[str]
) -> tuple[BaseRecipe, FileText]:
    from hub.languages import LanguagePair
    from training.pretrain.texts import FileText

    sources = [
        (LanguagePair.parse(pair), source)
        for pair, source in (_assignment("--data", word, "PAIR=SOURCE") for word in data)
    ]
    texts = [
        (language, Path(path))
        for language, path in (_assignment("--text", word, "LANGUAGE=FILE") for word in text)
    ]
    files = FileText.read(sources, texts, seed=recipe.seed, clean=clean)
    found = replace(recipe, languages=files.languages, data=files.data, texts=files.texts)
    return found, files


def _assignment(option: str, word: str, form: str) -> tuple[str, str]:
    from hub.errors import SettingsError

    name, equals, value = word.partition("=")
    if not (name and equals and value):
        raise SettingsError(f"{option} {word!r}: write {form}")
    return name, value


def _refuse_with_data(options: Mapping[str, object]) -> None:
    from hub.errors import SettingsError

    for option, value in options.items():
        if value:
            raise SettingsError(f"{option} goes with CLDR; --data brings its own languages")


def _refuse_without_data(options: Mapping[str, object]) -> None:
    from hub.errors import SettingsError

    for option, value in options.items():
        if value:
            raise SettingsError(f"{option} goes with --data; the base is built on CLDR without")


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
