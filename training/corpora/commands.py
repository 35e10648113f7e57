"""`hub corpus`: look at parallel text, the embedded and one's own, before training on it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from training.corpora import CorpusSplits
    from training.corpora.plan import CorpusRequest
    from training.corpora.report import CorpusReport

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


@corpus_app.command("formats")
def formats() -> None:
    """List the formats that --data reads, with their options."""
    from hub.console import note, print_table
    from training.corpora.sources import FEEDBACK, OPTIONS, endings_of

    others = {FEEDBACK: f"{FEEDBACK}:"}
    rows = [
        (
            name,
            " ".join(endings_of(name)) or others.get(name, "a prefix"),
            ", ".join(options) or "–",
        )
        for name, options in OPTIONS.items()
    ]
    print_table(("format", "told by", "options"), rows)
    note("--data [WEIGHT@][FORMAT:]PATH[#OPTION=VALUE&…]; .gz and .zst are unpacked")
    note("a path that begins like a weight or a format is written with ./ in front")


@corpus_app.command("filters")
def filters() -> None:
    """List the filters that clean a corpus, with their defaults."""
    from hub.console import print_table
    from training.corpora.clean import FILTERS

    rows = [
        (each.name, "off" if each.default is None else f"{each.default:g}", each.reason)
        for each in FILTERS
    ]
    print_table(("filter", ">default", "removes segments with"), rows)


@corpus_app.command("check")
def check(
    pair: Annotated[str, typer.Option(help="Language pair, such as en-ko.")],
    data: Annotated[list[str], typer.Option(help="[WEIGHT@][FORMAT:]PATH[#OPTIONS]; repeatable.")],
    dev: Annotated[str | None, typer.Option(help="Dev segments to split off, or a file.")] = None,
    test: Annotated[str | None, typer.Option(help="Test segments to split off, or a file.")] = None,
    train: Annotated[int | None, typer.Option(min=1, help="Training segments at most.")] = None,
    clean: Annotated[
        list[str] | None, typer.Option(help="FILTER=VALUE, FILTER=off; repeatable.")
    ] = None,
    no_clean: Annotated[bool, typer.Option("--no-clean", help="Switch all filters off.")] = False,
    seed: Annotated[int, typer.Option(help="Draws the training sample.")] = 1,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report to this file, - for stdout.")
    ] = None,
) -> None:
    """Read and clean data as `hub train` would, and say what was left out and why."""
    from hub.errors import CorpusError
    from hub.languages import LanguagePair
    from training.corpora.plan import TRAIN_LIMIT, plan_corpus
    from training.reports.training import write_facts

    request = corpus_request(data, dev=dev, test=test, clean=clean, no_clean=no_clean)
    plan = plan_corpus(request, LanguagePair.parse(pair))
    if not plan.sources:
        raise CorpusError("cldr is made, not read, so there is nothing to check; see counts")
    numbers = (held_out_number(dev), held_out_number(test))
    started = time.perf_counter()
    corpus = plan.collect(
        seed=seed,
        train=TRAIN_LIMIT if train is None else train,
        dev=_HELD_OUT if numbers[0] is None else numbers[0],
        test=_HELD_OUT if numbers[1] is None else numbers[1],
    )
    seconds = time.perf_counter() - started
    if json_file is not None:
        write_facts(json_file, _check_facts(corpus, seconds))
    if json_file != Path("-"):
        _print_check(corpus, seconds)


_HELD_OUT = 1000


def held_out_number(text: str | None) -> int | None:
    """Return the number in a value of --dev or --test; None for a file, or where there is none."""
    return int(text) if text and re.fullmatch(r"-?[0-9]+", text) else None


def corpus_request(
    data: Sequence[str] | None,
    *,
    dev: str | None,
    test: str | None,
    clean: Sequence[str] | None,
    no_clean: bool,
    licence: str = "",
) -> CorpusRequest:
    """Return what the options of a command line ask for; cldr where they name no data."""
    from training.corpora.plan import CorpusRequest

    files = [text if text and held_out_number(text) is None else "" for text in (dev, test)]
    return CorpusRequest(
        data=tuple(data) if data else CorpusRequest().data,
        dev=files[0],
        test=files[1],
        clean=tuple(clean or ()),
        no_clean=no_clean,
        licence=licence,
    )


def _check_facts(corpus: CorpusSplits, seconds: float) -> dict[str, Any]:
    assert corpus.report is not None, "files are always reported on"
    return {
        "pair": str(corpus.pair),
        "train": len(corpus.train),
        "dev": len(corpus.dev),
        "test": len(corpus.test),
        "fingerprint": corpus.fingerprint,
        "seconds": round(seconds, 2),
        **corpus.report.facts(),
    }


def _print_check(corpus: CorpusSplits, seconds: float) -> None:
    from hub.console import note, print_table

    report = corpus.report
    assert report is not None, "files are always reported on"
    sources = [
        (s.name, s.format, f"{s.weight:g}", f"{s.read:,}", f"{s.kept:,}") for s in report.sources
    ]
    print_table(("source", "format", ">weight", ">read", ">kept"), sources)
    print_table(("left out by", ">segments", ">share", "for example"), _removal_rows(report))
    for text in report.notes:
        note(text)
    for name in report.not_judged:
        note(f"filter {name} cannot judge {corpus.pair}; it was passed over")
    splits = [(name, f"{len(getattr(corpus, name)):,}") for name in ("train", "dev", "test")]
    print_table(("split", ">segments"), splits)
    if report.unused:
        note(f"{report.unused:,} segments belong to dev and test beyond the numbers asked for")
    if report.over_limit:
        note(f"{report.over_limit:,} training segments are beyond --train")
    speed = report.read / max(seconds, 1e-9)
    note(f"{report.read:,} segments in {seconds:.1f} s, {speed:,.0f} a second")
    note(f"fingerprint {corpus.fingerprint}")


def _removal_rows(report: CorpusReport) -> list[tuple[str, ...]]:
    from training.corpora.clean import FILTERS
    from training.corpora.collect import EMPTY

    order = [*report.skipped, EMPTY, *(each.name for each in FILTERS)]
    gone = {**report.skipped, **report.removed}
    seen = report.read + sum(report.skipped.values())
    return [
        (name, f"{gone[name]:,}", _share(gone[name], seen), example)
        for name in order
        if gone.get(name)
        for example in report.examples(name)[:1] or [""]
    ]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "–"


def _count_rows(corpus: CorpusSplits) -> list[tuple[str, ...]]:
    by_split = corpus.counts_by_kind()
    splits = ("train", "dev", "test")
    kinds = sorted({kind for counts in by_split.values() for kind in counts})
    rows = [(kind, *(str(by_split[split].get(kind, 0)) for split in splits)) for kind in kinds]
    return [*rows, ("all", *(str(sum(by_split[split].values())) for split in splits))]
