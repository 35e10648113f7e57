"""Score a published adapter again, on the very test items of its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.bases import open_base
from hub.bases.tokenizer import load_tokenizer
from hub.errors import CorpusError
from hub.manifest import AdapterManifest, ScoreRecord
from training.corpora import load_corpus
from training.corpora.clean import Cleaning
from training.corpora.model import segments_fingerprint
from training.corpora.sources import CLDR, parse_source, parse_sources
from training.data import fitting
from training.evaluate import Decoder, Quantization, score_system
from training.progress import Progress

if TYPE_CHECKING:
    from hub.registry import AdapterVersion
    from training.corpora import CorpusSplits, SentencePair


@dataclass(frozen=True)
class Evaluation:
    """Fresh scores of a published adapter and its base, beside those it was published with.

    Attributes:
        same_test: Whether the test set is the one that the adapter was published with.
    """

    version: AdapterVersion
    scores: tuple[ScoreRecord, ...]
    same_test: bool = True

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
    progress: Progress,
    data: Sequence[str] = (),
    test: str = "",
) -> Evaluation:
    """Score an adapter and its base with the serving engine.

    Args:
        ref: The adapter.
        registry: Location of the registry.
        base_ref: Where the base is; the name in the manifest when empty.
        quantization: Numbers of the serving engine.
        progress: Hears of the stages.
        data: The files that the adapter was made from, to split the test set off once more.
        test: A test set of its own, instead.

    Raises:
        CorpusNotFoundError: There is no such file.
        AdapterNotFoundError: Nothing answers to the ref.
        WrongBaseError: The base is not the one that the adapter was trained on.
        CorpusError: The corpus no longer gives the same test items.
    """
    from hub.registry import Registry

    with Registry.open(registry) as opened:
        version = opened.resolve(ref)
        folder = opened.folder(version)
    manifest = version.manifest
    segments = _test_set(manifest, data, test)
    progress.stage(f"decoding {len(segments)} unseen items with {version.ref} and its base")
    base = open_base(base_ref or manifest.base.name)
    tokenizer = load_tokenizer(base)
    decoder = Decoder(base, tokenizer, quantization)
    decoder.place(folder, manifest)
    pair = manifest.language_pair
    fit = fitting(segments, pair, tokenizer, max_positions=base.dimensions.max_positions)
    scores = (
        *score_system(decoder, pair, fit, "base"),
        *score_system(decoder, pair, fit, "adapter"),
    )
    progress.close()
    return Evaluation(version, scores, _is_same(manifest, segments, test))


def _test_set(manifest: AdapterManifest, data: Sequence[str], test: str) -> Sequence[SentencePair]:
    """Return the test set given, or the adapter's own."""
    from training.corpora.collect import read_held_out

    if test:
        return read_held_out(parse_source(test), manifest.language_pair)
    if manifest.corpus.cleaning is None:
        if data and tuple(data) != (CLDR,):
            raise CorpusError(
                "the adapter was not made from files; leave --data out, or use --test"
            )
        return _same_corpus(manifest).test
    if not data:
        raise CorpusError(
            f"the adapter was made from files ({manifest.corpus.name}); give them again with "
            "--data, or a test set with --test"
        )
    return _split_again(manifest, data)


def _split_again(manifest: AdapterManifest, data: Sequence[str]) -> Sequence[SentencePair]:
    from training.corpora.collect import collect

    recorded = manifest.corpus
    assert recorded.cleaning is not None, "checked by the caller"
    found = collect(
        manifest.language_pair,
        parse_sources(data),
        train=0,
        dev=0,
        test=recorded.test,
        cleaning=Cleaning(recorded.cleaning.settings),
        seed=manifest.seed,
    ).test
    if segments_fingerprint(found) != recorded.test_fingerprint:
        raise CorpusError(
            f"{' '.join(data)} does not give the test set that the adapter was published with; "
            "give the same files in the same order, or the test file with --test"
        )
    return found


def _is_same(manifest: AdapterManifest, segments: Sequence[SentencePair], test: str) -> bool:
    return not test or segments_fingerprint(segments) == manifest.corpus.test_fingerprint


def _same_corpus(manifest: AdapterManifest) -> CorpusSplits:
    recorded = manifest.corpus
    corpus = load_corpus(
        recorded.name,
        manifest.language_pair,
        seed=manifest.seed,
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
