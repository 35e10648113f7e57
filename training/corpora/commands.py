"""`hub corpus`: look at the parallel text that comes with the hub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from training.corpora import CorpusSplits

corpus_app = typer.Typer(help="Look at parallel corpora.", no_args_is_help=True)


@corpus_app.command("sample")
def sample(
    pair: Annotated[str, typer.Option(help="Language pair, such as en-ko.")],
    name: Annotated[str, typer.Option("--corpus", help="Corpus to draw from.")] = "cldr",
    lines: Annotated[int, typer.Option(min=1, max=10_000, help="Segments to show.")] = 20,
    seed: Annotated[int, typer.Option(help="Same seed, same segments.")] = 0,
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "train",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Print some aligned segments of a split."""
    from hub.errors import CorpusError
    from hub.languages import LanguagePair
    from training.corpora import load_corpus

    sizes = dict.fromkeys(("train", "dev", "test"), 0)
    if split not in sizes:
        raise CorpusError(f"split {split!r} is unknown; choose one of {', '.join(sizes)}")
    sizes[split] = lines
    corpus = load_corpus(
        name,
        LanguagePair.parse(pair),
        seed=seed,
        train=sizes["train"],
        dev=sizes["dev"],
        test=sizes["test"],
    )
    segments = getattr(corpus, split)
    if as_json:
        for segment in segments:
            typer.echo(json.dumps(segment.__dict__, ensure_ascii=False))
        return
    from hub.console import print_table

    print_table(
        ("kind", corpus.pair.source, corpus.pair.target),
        [(segment.kind, segment.source, segment.target) for segment in segments],
    )


@corpus_app.command("counts")
def counts(
    pair: Annotated[str, typer.Option(help="Language pair, such as en-ko.")],
    name: Annotated[str, typer.Option("--corpus", help="Corpus to count.")] = "cldr",
    train: Annotated[int, typer.Option(min=0, help="Train segments to draw.")] = 12_000,
    dev: Annotated[int, typer.Option(min=0, help="Dev segments to draw.")] = 300,
    test: Annotated[int, typer.Option(min=0, help="Test segments to draw.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Same seed, same segments.")] = 0,
) -> None:
    """Show how many segments of each kind the splits hold."""
    from hub.console import note, print_table
    from hub.languages import LanguagePair
    from training.corpora import load_corpus

    corpus = load_corpus(name, LanguagePair.parse(pair), seed=seed, train=train, dev=dev, test=test)
    print_table(("kind", ">train", ">dev", ">test"), _count_rows(corpus))
    note(f"{corpus.name} {corpus.pair}, licence {corpus.licence}, {corpus.fingerprint}")


@corpus_app.command("languages")
def languages() -> None:
    """List the locales that the cldr corpus can pair."""
    from babel import localedata

    typer.echo(" ".join(sorted(name.replace("_", "-") for name in localedata.locale_identifiers())))


def _count_rows(corpus: CorpusSplits) -> list[tuple[str, ...]]:
    by_split = corpus.counts_by_kind()
    splits = ("train", "dev", "test")
    kinds = sorted({kind for counts in by_split.values() for kind in counts})
    rows = [(kind, *(str(by_split[split].get(kind, 0)) for split in splits)) for kind in kinds]
    return [*rows, ("all", *(str(sum(by_split[split].values())) for split in splits))]
