"""Parallel corpora: where the text that adapters are trained on comes from."""

from __future__ import annotations

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.model import CorpusSplits, SentencePair

__all__ = ["CORPORA", "CorpusSplits", "SentencePair", "load_corpus"]

CORPORA = ("cldr",)


def load_corpus(
    name: str, pair: LanguagePair, *, seed: int, train: int, dev: int, test: int
) -> CorpusSplits:
    """Return the named corpus for a pair, cut into splits of the given numbers of segments.

    Raises:
        CorpusError: No such corpus, or it has fewer segments than asked for.
        LanguageError: The corpus does not have one of the languages.
    """
    if name not in CORPORA:
        raise CorpusError(
            f"corpus {name!r} is unknown; known: {', '.join(CORPORA)}", field="corpus"
        )
    from training.corpora import cldr  # Babel's data is slow to import and not always needed.

    return cldr.build_corpus(pair, seed=seed, train=train, dev=dev, test=test)
