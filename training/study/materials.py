"""What cells share, opened once in a process: bases, tokenizers, corpora, engines."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from hub.errors import BaseNotFoundError
from hub.languages import LanguagePair
from training.corpora.model import CorpusSplits, segments_fingerprint
from training.corpora.plan import CorpusRequest, plan_corpus

if TYPE_CHECKING:
    from hub.bases import Base
    from hub.bases.tokenizer import BaseTokenizer
    from training.corpora import SentencePair
    from training.evidence.decode import Decoder, Quantization, SearchName
    from training.study.file import BaseEntry, StudyFile

PAIRS_KEPT = 4
"""Corpora in memory at a time; cells come in the order of pairs."""


@dataclass(frozen=True)
class CorpusSpec:
    """A corpus by everything that it follows from, so that it is read once.

    Attributes:
        train: Segments at most, the largest size that the study asks of this pair.
    """

    pair: str
    data: tuple[str, ...]
    dev_source: str
    test_source: str
    dev: int
    test: int
    train: int
    seed: int
    clean: tuple[str, ...] = ()
    no_clean: bool = False

    @property
    def request(self) -> CorpusRequest:
        """Return it in the words of `hub train`."""
        return CorpusRequest(
            data=self.data,
            dev=self.dev_source,
            test=self.test_source,
            clean=self.clean,
            no_clean=self.no_clean,
        )


def corpus_spec(study: StudyFile, pair: str) -> CorpusSpec:
    """Return where a pair's text comes from."""
    own, shared = study.pairs[pair], study.corpus
    return CorpusSpec(
        pair=pair,
        data=tuple(own.data or shared.data),
        dev_source=own.dev or "",
        test_source=own.test or "",
        dev=shared.dev,
        test=shared.test,
        train=max(study.train),
        seed=shared.seed,
        clean=tuple(shared.clean),
        no_clean=shared.no_clean,
    )


@lru_cache(maxsize=PAIRS_KEPT)
def whole_corpus(spec: CorpusSpec) -> CorpusSplits:
    """Return a pair's corpus, its training segments in an order of their own, dev and test cut.

    Raises:
        CorpusNotFoundError: A file is not there.
        CorpusError: A file is bad, or a split is empty.
        LanguageError: CLDR does not have one of the languages.
    """
    pair = LanguagePair.parse(spec.pair)
    corpus = plan_corpus(spec.request, pair).load(
        seed=spec.seed, train=spec.train, dev=spec.dev, test=spec.test
    )
    shuffled = list(corpus.train)
    Random(spec.seed).shuffle(shuffled)
    return replace(
        corpus,
        train=tuple(shuffled),
        dev=_some(corpus.dev, spec.dev, spec.seed),
        test=_some(corpus.test, spec.test, spec.seed),
    )


def _some(
    segments: tuple[SentencePair, ...] | object, most: int, seed: int
) -> tuple[SentencePair, ...]:
    """Return at most so many segments, drawn without regard to their place in a file."""
    every: tuple[SentencePair, ...] = tuple(segments)  # type: ignore[arg-type]
    if len(every) <= most:
        return every
    kept = sorted(Random(seed).sample(range(len(every)), most))
    return tuple(every[index] for index in kept)


@lru_cache(maxsize=PAIRS_KEPT)
def sized_corpus(spec: CorpusSpec, train: int) -> CorpusSplits:
    """Return a corpus with its first so many training segments; a larger one holds them too."""
    whole = whole_corpus(spec)
    own = replace(whole, train=whole.train[:train])
    parts = (segments_fingerprint(part) for part in (own.train, own.dev, own.test))
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return replace(own, fingerprint=f"sha256:{digest}")


def open_here(entry: BaseEntry) -> Base:
    """Open a base that is on this machine; no network is asked.

    Raises:
        BaseNotFoundError: It is not here; the message says how to get it.
        CorruptBaseError: Its files are damaged.
    """
    from hub.bases import open_base
    from hub.bases.base import EMBEDDED
    from hub.bases.languages import remember_languages

    base = open_base(entry.base if entry.base == EMBEDDED else str(_folder(entry)))
    if entry.languages:
        remember_languages(base, entry.languages)
    return (
        base
        if entry.base == EMBEDDED or Path(entry.base).is_dir()
        else replace(base, name=entry.base)
    )


def _folder(entry: BaseEntry) -> Path:
    """Return where a base lies: its folder, or its snapshot in the Hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    from hub.bases.download import HubRef

    folder = Path(entry.base).expanduser()
    if folder.is_dir():
        return folder
    ref = HubRef.parse(entry.base) if not folder.is_absolute() else None
    cached = try_to_load_from_cache(ref.id, "config.json", revision=ref.revision) if ref else None
    if isinstance(cached, str):
        return Path(cached).parent
    remedy = entry.get or (f"hub bases pull {entry.base}" if ref else "give an existing folder")
    raise BaseNotFoundError(
        f"base {entry.base!r} is not on this machine; to get it: {remedy}", field="bases"
    )


@lru_cache(maxsize=4)
def opened(entry: BaseEntry) -> tuple[Base, BaseTokenizer]:
    """Return a base and its tokenizer, opened once.

    Raises:
        BaseNotFoundError: It is not here.
        CorruptBaseError: Its files are damaged.
    """
    from hub.bases.tokenizer import load_tokenizer

    base = open_here(entry)
    return base, load_tokenizer(base)


@lru_cache(maxsize=1)
def base_decoder(entry: BaseEntry, quantization: Quantization, search: SearchName) -> Decoder:
    """Return an engine with a base, and a slot for the adapter that is looked at."""
    from training.evidence.decode import Decoder

    base, tokenizer = opened(entry)
    return Decoder(base, tokenizer, quantization, search)
