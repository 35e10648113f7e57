"""Score a published adapter again, on its own test items or others, beside its base and rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hub.bases import open_base
from hub.bases.tokenizer import load_tokenizer
from hub.errors import CorpusError, PairMismatchError, SettingsError
from hub.languages import LanguagePair
from hub.manifest import (
    AdapterManifest,
    ComparisonRecord,
    CorpusReference,
    Metric,
    ScoreRecord,
)
from training.corpora import load_corpus
from training.corpora.clean import Cleaning
from training.corpora.model import segments_fingerprint
from training.corpora.sources import CLDR, parse_source, parse_sources
from training.evidence.comet import Comet
from training.evidence.decode import (
    ADAPTER_SLOT,
    BASE_SLOT,
    Decoder,
    Quantization,
    SearchName,
    VocabularyName,
)
from training.evidence.gather import Evidence, weigh
from training.evidence.scoring import Measure, Scorer
from training.evidence.significance import compare
from training.loop.examples import fitting
from training.loop.progress import Progress

if TYPE_CHECKING:
    from hub.registry import AdapterVersion
    from training.corpora import CorpusSplits, SentencePair


@dataclass(frozen=True)
class Rival:
    """Another adapter on the same items.

    Attributes:
        scores: Its own, by metric.
        comparisons: Of the evaluated adapter with it.
        other_data: Whether it was made from other data, which may hold these very items.
    """

    version: AdapterVersion
    scores: Mapping[Metric, float]
    comparisons: tuple[ComparisonRecord, ...]
    other_data: bool


@dataclass(frozen=True)
class Evaluation:
    """Fresh scores of a published adapter and its base, beside those it was published with.

    Attributes:
        same_test: Whether the test set is the one that the adapter was published with.
        rivals: Other adapters that it was compared with.
    """

    version: AdapterVersion
    evidence: Evidence
    same_test: bool = True
    rivals: tuple[Rival, ...] = ()

    @property
    def scores(self) -> tuple[ScoreRecord, ...]:
        """Return the fresh scores of base and adapter."""
        return self.evidence.scores

    @property
    def recorded(self) -> tuple[ScoreRecord, ...]:
        """Return the scores in the adapter's manifest."""
        return self.version.manifest.scores


def evaluate_ref(
    ref: str,
    *,
    registry: str,
    base_ref: str,
    quantization: Quantization,
    search: SearchName = "base",
    vocabulary: VocabularyName = "full",
    progress: Progress,
    data: Sequence[str] = (),
    test: str = "",
    against: Sequence[str] = (),
    comet: Comet | None = None,
) -> Evaluation:
    """Score an adapter, its base and other adapters with the serving engine, and compare them.

    Args:
        ref: The adapter.
        registry: Location of the registry.
        base_ref: Where the base is; the name in the manifest when empty.
        quantization: Numbers of the serving engine.
        search: The base's own search, or greedy.
        vocabulary: What outputs choose from: all tokens, or those of the target language.
        progress: Hears of the stages.
        data: The files that the adapter was made from, to split the test set off once more.
        test: A test set of its own, instead.
        against: Other adapters of the same pair on the same base.
        comet: Where COMET is, to score with it too.

    Raises:
        CorpusNotFoundError: There is no such file.
        AdapterNotFoundError: Nothing answers to a ref.
        PairMismatchError: Another adapter is of another pair.
        WrongBaseError: The base is not the one that an adapter was trained on.
        CorpusError: The corpus no longer gives the same test items, or two test sets are named.
        SettingsError: An adapter is compared with itself, or COMET cannot be run.
    """
    if comet is not None:
        comet.check()
    adapters = _resolve(registry, ref, against)
    version = adapters[0].version
    manifest, pair = version.manifest, version.manifest.language_pair
    segments = _test_set(manifest, data, test)
    names = ", ".join(each.version.ref for each in adapters)
    progress.stage(f"decoding {len(segments)} unseen items with {names} and the base")
    base = open_base(base_ref or manifest.base.name)
    tokenizer = load_tokenizer(base)
    decoder = Decoder(base, tokenizer, quantization, search, vocabulary)
    fit = fitting(segments, pair, tokenizer, max_positions=base.dimensions.max_positions)
    outputs = _translate(decoder, pair, fit, adapters)
    if comet is not None:
        progress.stage(f"scoring with COMET ({comet.model})")
    plain, ours, *theirs = _measure(pair, fit, outputs, comet)
    progress.close()
    return Evaluation(
        version=version,
        evidence=weigh(
            [segment.source for segment in fit],
            pair.source,
            base=plain,
            adapter=ours,
            decoding=decoder.signature,
        ),
        same_test=_is_same(manifest, segments, test),
        rivals=tuple(
            _rival(each.version, version, ours, measures)
            for each, measures in zip(adapters[1:], theirs, strict=True)
        ),
    )


@dataclass(frozen=True)
class _Opened:
    version: AdapterVersion
    folder: Path


def _resolve(registry: str, ref: str, against: Sequence[str]) -> list[_Opened]:
    """Find the adapter and those that it is compared with."""
    from hub.registry import Registry

    with Registry.open(registry) as opened:
        versions = [opened.resolve(each) for each in (ref, *against)]
        found = [_Opened(version, opened.folder(version)) for version in versions]
    own = versions[0]
    for other in versions[1:]:
        if other.digest == own.digest:
            raise SettingsError(
                f"--against {other.ref} is the adapter {own.ref} itself; name another",
                field="against",
            )
        if other.manifest.pair != own.manifest.pair:
            raise PairMismatchError(
                f"--against {other.ref} translates {other.manifest.pair}, but {own.ref} "
                f"{own.manifest.pair}; only adapters of one pair can be compared",
                field="against",
            )
    return found


def _translate(
    decoder: Decoder,
    pair: LanguagePair,
    segments: Sequence[SentencePair],
    adapters: Sequence[_Opened],
) -> list[list[str]]:
    """Return the translations of the base and of each adapter."""
    sources = [segment.source for segment in segments]
    found = [decoder.translate(pair, sources, BASE_SLOT)]
    for each in adapters:
        decoder.place(each.folder, each.version.manifest)
        found.append(decoder.translate(pair, sources, ADAPTER_SLOT))
    return found


def _measure(
    pair: LanguagePair,
    segments: Sequence[SentencePair],
    outputs: Sequence[Sequence[str]],
    comet: Comet | None,
) -> list[tuple[Measure, ...]]:
    """Return the measures of each system, COMET's last."""
    references = [segment.target for segment in segments]
    scorer = Scorer(references, pair.target)
    found = [scorer.measure(each) for each in outputs]
    if comet is None:
        return found
    extra = comet.measure([segment.source for segment in segments], outputs, references)
    return [(*own, more) for own, more in zip(found, extra, strict=True)]


def _rival(
    other: AdapterVersion, own: AdapterVersion, ours: Sequence[Measure], theirs: Sequence[Measure]
) -> Rival:
    return Rival(
        version=other,
        scores={measure.metric: round(measure.score.value, 4) for measure in theirs},
        comparisons=compare(ours, theirs, other.ref),
        other_data=_other_data(other.manifest.corpus, own.manifest.corpus),
    )


def _other_data(trained: CorpusReference | None, on: CorpusReference | None) -> bool:
    """Return whether two adapters may be of different data; one of unknown data may."""
    if trained is None or on is None:
        return True
    # The embedded corpus is split by item, the same way for every adapter.
    return trained.fingerprint != on.fingerprint and {trained.name, on.name} != {CLDR}


def _test_set(manifest: AdapterManifest, data: Sequence[str], test: str) -> Sequence[SentencePair]:
    """Return the test set given, or the adapter's own."""
    from training.corpora.collect import read_held_out

    if test and data:
        raise CorpusError(
            "--test is a test set of its own and --data splits the adapter's off; give one of them",
            field="test",
        )
    if test:
        return read_held_out(parse_source(test), manifest.language_pair)
    recorded = manifest.corpus
    if recorded is None:
        raise CorpusError(
            "the adapter was not trained here, so its test set is not known; give one with --test",
            field="test",
        )
    if recorded.cleaning is None:
        if data and tuple(data) != (CLDR,):
            raise CorpusError(
                "the adapter was not made from files; leave --data out, or use --test"
            )
        return _same_corpus(manifest, recorded).test
    if not data:
        raise CorpusError(
            f"the adapter was made from files ({recorded.name}); give them again with "
            "--data, or a test set with --test"
        )
    return _split_again(manifest, recorded, data)


def _split_again(
    manifest: AdapterManifest, recorded: CorpusReference, data: Sequence[str]
) -> Sequence[SentencePair]:
    from training.corpora.collect import collect

    assert recorded.cleaning is not None, "checked by the caller"
    found = collect(
        manifest.language_pair,
        parse_sources(data),
        train=0,
        dev=0,
        test=recorded.test,
        cleaning=Cleaning(recorded.cleaning.settings),
        seed=manifest.seed or 0,
    ).test
    if segments_fingerprint(found) != recorded.test_fingerprint:
        raise CorpusError(
            f"{' '.join(data)} does not give the test set that the adapter was published with; "
            "give the same files in the same order, or the test file with --test"
        )
    return found


def _is_same(manifest: AdapterManifest, segments: Sequence[SentencePair], test: str) -> bool:
    if not test:
        return True
    recorded = manifest.corpus
    return recorded is not None and segments_fingerprint(segments) == recorded.test_fingerprint


def _same_corpus(manifest: AdapterManifest, recorded: CorpusReference) -> CorpusSplits:
    corpus = load_corpus(
        recorded.name,
        manifest.language_pair,
        seed=manifest.seed or 0,
        train=recorded.train,
        dev=recorded.dev,
        test=recorded.test,
    )
    if corpus.fingerprint != recorded.fingerprint:
        raise CorpusError(
            f"corpus {recorded.name!r} now gives {corpus.fingerprint}, but the adapter was made "
            f"from {recorded.fingerprint}; install the same release of the corpus's package"
        )
    return corpus
