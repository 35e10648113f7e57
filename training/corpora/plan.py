"""From what the user asked for to a corpus: all that can be refused unread is refused first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hub.errors import CorpusError, CorpusNotFoundError
from hub.languages import LanguagePair
from training.corpora.clean import Cleaning
from training.corpora.collect import HeldOut, collect
from training.corpora.feedback import open_store
from training.corpora.model import CorpusSplits
from training.corpora.moses import moses_files
from training.corpora.report import CorpusReport
from training.corpora.sources import CLDR, FEEDBACK, DataSource, parse_source, parse_sources

FILES: Final = "files"
TRAIN_LIMIT: Final = 1_000_000


@dataclass(frozen=True)
class CorpusRequest:
    """What corpus, in the user's words.

    Attributes:
        data: Sources in the syntax of `training.corpora.sources`, or "cldr" alone.
        dev: A source for the dev set; "" to split it off.
        test: A source for the test set; "" to split it off.
        clean: Changes of the filters, such as "max-length=500" or "numerals=off".
        no_clean: Switch all filters off.
        licence: The text's licence.
    """

    data: tuple[str, ...] = (CLDR,)
    dev: str = ""
    test: str = ""
    clean: tuple[str, ...] = ()
    no_clean: bool = False
    licence: str = ""


@dataclass(frozen=True)
class CorpusPlan:
    """A request that was understood; nothing is read yet.

    Attributes:
        sources: Where training segments come from; empty for CLDR.
    """

    pair: LanguagePair
    sources: tuple[DataSource, ...] = ()
    dev: DataSource | None = None
    test: DataSource | None = None
    cleaning: Cleaning = field(default_factory=Cleaning)
    licence: str = ""

    @property
    def corpus(self) -> str:
        """Return the word for the corpus in a recipe; its fingerprint says which files."""
        return FILES if self.sources else CLDR

    def load(self, *, seed: int, train: int, dev: int, test: int) -> CorpusSplits:
        """Read the corpus, cut into splits, none of them empty.

        From files `dev` and `test` segments at most are split off, where these have no file of
        their own; CLDR gives as many as asked for.

        Raises:
            CorpusNotFoundError: There is no such file.
            CorpusError: A file is bad, or a split is empty or, of CLDR, too small.
            LanguageError: CLDR does not have one of the languages.
        """
        if not self.sources:
            from training.corpora import load_corpus

            return load_corpus(CLDR, self.pair, seed=seed, train=train, dev=dev, test=test)
        corpus = self.collect(seed=seed, train=train, dev=dev, test=test)
        _refuse_empty(corpus)
        return corpus

    def collect(self, *, seed: int, train: int, dev: int, test: int) -> CorpusSplits:
        """Read the files, and accept empty splits."""
        held_out: tuple[HeldOut, HeldOut] = (self.dev or dev, self.test or test)
        return collect(
            self.pair,
            self.sources,
            train=train,
            dev=held_out[0],
            test=held_out[1],
            cleaning=self.cleaning,
            seed=seed,
            licence=self.licence,
        )


def plan_corpus(request: CorpusRequest, pair: LanguagePair) -> CorpusPlan:
    """Understand a request, and see that its files are there.

    Raises:
        CorpusNotFoundError: There is no such file.
        CorpusError: A source or a filter is not understood, or CLDR is mixed with files.
    """
    if request.clean and request.no_clean:
        raise CorpusError("--clean and --no-clean exclude each other", field="data")
    cleaning = Cleaning.none() if request.no_clean else Cleaning.parse(request.clean)
    if CLDR in request.data:
        return _cldr(request, pair)
    if not request.data:
        raise CorpusError("--data names no source", field="data")
    sources = parse_sources(request.data)
    dev, test = (parse_source(text) if text else None for text in (request.dev, request.test))
    for source in (*sources, *(each for each in (dev, test) if each)):
        _check_there(source, pair)
    return CorpusPlan(pair, sources, dev, test, cleaning, request.licence)


def _cldr(request: CorpusRequest, pair: LanguagePair) -> CorpusPlan:
    if len(request.data) > 1:
        raise CorpusError("--data cldr cannot be mixed with files: train on one of them")
    given = {
        "--dev FILE": request.dev,
        "--test FILE": request.test,
        "--licence": request.licence,
        "--clean": request.clean,
    }
    for option, value in given.items():
        if value:
            raise CorpusError(f"{option} goes with --data FILE, not with the cldr corpus")
    return CorpusPlan(pair)


def _check_there(source: DataSource, pair: LanguagePair) -> None:
    """Find a missing file before the others are read, which may take minutes."""
    path = Path(source.path)
    if source.format == FEEDBACK:
        open_store(source).close()
        return
    if source.format == "hf" or (source.format == "moses" and path.is_dir()):
        return
    files: Sequence[Path] = moses_files(source, pair) if source.format == "moses" else (path,)
    for file in files:
        if not file.exists():
            typed = Path(source.typed)
            hint = f"; {typed} was read as {source.path}" if typed.exists() else ""
            raise CorpusNotFoundError(f"there is no file {file}{hint}", field="data")


def _refuse_empty(corpus: CorpusSplits) -> None:
    report = corpus.report
    assert report is not None, "files are always reported on"
    for name in ("dev", "test"):
        if not len(getattr(corpus, name)):
            raise CorpusError(
                f"none of {report.read:,} segments read is left for {name}, which is split off by "
                f"hash (5 %){_why(report)}; give it with --{name} FILE",
                field="data",
            )
    if not len(corpus.train):
        raise CorpusError(
            f"none of {report.read:,} segments read is left to train on{_why(report)}", field="data"
        )


def _why(report: CorpusReport) -> str:
    """Say in brackets what went where."""
    gone = {**report.removed, **report.skipped}
    return f" ({', '.join(f'{name} {count:,}' for name, count in gone.items())})" if gone else ""
