"""Score a published adapter again, on the very test items of its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.bases import open_base
from hub.bases.tokenizer import load_tokenizer
from hub.errors import CorpusError
from hub.manifest import AdapterManifest, ScoreRecord
from training.corpora import load_corpus
from training.data import fitting
from training.evaluate import Decoder, Quantization, score_system
from training.progress import Progress

if TYPE_CHECKING:
    from hub.registry import AdapterVersion
    from training.corpora import CorpusSplits


@dataclass(frozen=True)
class Evaluation:
    """Fresh scores of a published adapter and its base, beside those it was published with."""

    version: AdapterVersion
    scores: tuple[ScoreRecord, ...]

    @property
    def recorded(self) -> tuple[ScoreRecord, ...]:
        """Return the scores in the adapter's manifest."""
        return self.version.manifest.scores


def evaluate_ref(
    ref: str, *, registry: str, base_ref: str, quantization: Quantization, progress: Progress
) -> Evaluation:
    """Score an adapter and its base with the serving engine.

    Args:
        ref: The adapter.
        registry: Location of the registry.
        base_ref: Where the base is; the name in the manifest when empty.
        quantization: Numbers of the serving engine.
        progress: Hears of the stages.

    Raises:
        AdapterNotFoundError: Nothing answers to the ref.
        WrongBaseError: The base is not the one that the adapter was trained on.
        CorpusError: The corpus no longer gives the same test items.
    """
    from hub.registry import Registry

    with Registry.open(registry) as opened:
        version = opened.resolve(ref)
        folder = opened.folder(version)
    manifest = version.manifest
    progress.stage(f"decoding {manifest.corpus.test} unseen items with {version.ref} and its base")
    base = open_base(base_ref or manifest.base.name)
    tokenizer = load_tokenizer(base)
    decoder = Decoder(base, tokenizer, quantization)
    decoder.place(folder, manifest)
    pair = manifest.language_pair
    test = fitting(
        _same_corpus(manifest).test, pair, tokenizer, max_positions=base.dimensions.max_positions
    )
    scores = (
        *score_system(decoder, pair, test, "base"),
        *score_system(decoder, pair, test, "adapter"),
    )
    progress.close()
    return Evaluation(version, scores)


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
