"""What a base is pre-trained on: CLDR in many languages, or parallel files of some pairs."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Final, NamedTuple, Protocol

from hub.errors import CorpusError
from hub.languages import LanguagePair, canonical, m2m_code
from training.corpora import CorpusSplits, SentencePair, load_corpus
from training.corpora.cldr import locale_of, sample_phrase
from training.corpora.lines import read_lines
from training.corpora.plan import TRAIN_LIMIT, CorpusPlan, CorpusRequest, plan_corpus
from training.pretrain.recipe import BaseRecipe, CorpusFacts, TextFacts

SCORED_SEGMENTS: Final = 300
CLDR_SCORED_PAIRS: Final = tuple(
    LanguagePair.parse(pair)
    for pair in ("en-de", "de-en", "en-fr", "en-ja", "en-ru", "es-zh", "en-nl", "en-ko", "ko-en")
)


class Phrase(NamedTuple):
    """A text, its translation, and their languages (BCP-47)."""

    source: str
    target: str
    text: str
    translation: str


class TrainingText(Protocol):
    """Where the pairs, the vocabulary and the scores of a base come from."""

    def draw(self, rng: Random) -> Phrase | None:
        """Return a phrase that follows from the generator's state; None to draw again."""

    def vocabulary(self) -> Iterator[str]:
        """Yield texts of all languages, for the vocabulary."""

    def held_out(self) -> Iterator[tuple[LanguagePair, Sequence[SentencePair]]]:
        """Yield pairs with segments that are never drawn."""


class CldrText:
    """Phrases of the recipe's languages, any language to any other."""

    def __init__(
        self, recipe: BaseRecipe, scored: Sequence[LanguagePair] = CLDR_SCORED_PAIRS
    ) -> None:
        """Prepare to sample."""
        self._recipe = recipe
        self._scored = scored
        self._weights = [recipe.weight(language) for language in recipe.languages]

    def draw(self, rng: Random) -> Phrase | None:
        """Return a train phrase in two languages drawn by weight; None if it has no rendering."""
        phrase = sample_phrase(rng)
        source, target = rng.choices(self._recipe.languages, self._weights, k=2)
        if source == target or phrase.split != "train":
            return None
        text, translation = phrase.render(locale_of(source)), phrase.render(locale_of(target))
        return Phrase(source, target, text, translation) if text and translation else None

    def vocabulary(self) -> Iterator[str]:
        """Yield as many phrases of every language.

        Weak ones too: what is weak is the model's knowledge of a language, not its spelling.
        """
        for language in self._recipe.languages:
            rng = Random(f"{self._recipe.seed}:vocabulary:{language}")
            locale = locale_of(language)
            found = 0
            while found < self._recipe.vocabulary_phrases:
                phrase = sample_phrase(rng)
                text = phrase.render(locale) if phrase.split == "train" else None
                if text:
                    found += 1
                    yield text

    def held_out(self) -> Iterator[tuple[LanguagePair, Sequence[SentencePair]]]:
        """Yield unseen items of the scored pairs whose languages the recipe has."""
        for pair in self._scored:
            if {pair.source, pair.target} <= set(self._recipe.languages):
                corpus = load_corpus("cldr", pair, seed=0, train=0, dev=0, test=SCORED_SEGMENTS)
                yield pair, corpus.test


class FileText:
    """Parallel corpora from files, each pair in both directions, drawn by size.

    Further texts of single languages are for the vocabulary alone: so an adapter may later teach a
    language that the base can spell but not translate.
    """

    def __init__(self, corpora: Sequence[CorpusSplits], texts: Mapping[str, Path]) -> None:
        """Take corpora that were read, and files of single languages by BCP-47 code."""
        self._corpora = corpora
        self._texts = texts
        self._ends = list(accumulate(len(corpus.train) for corpus in corpora))

    @classmethod
    def read(
        cls,
        data: Sequence[tuple[LanguagePair, str]],
        texts: Sequence[tuple[str, Path]],
        *,
        seed: int,
        clean: Sequence[str] = (),
    ) -> FileText:
        """Read and clean sources, given by pair as `hub train --data` takes them.

        Raises:
            CorpusNotFoundError: There is no such file.
            CorpusError: A file is bad, a language has two files of text, or a pair is named in both
                directions.
            LanguageError: M2M-100 has no code for a language.
        """
        for pair, _ in data:
            m2m_code(pair.source)
            m2m_code(pair.target)
        by_pair: dict[LanguagePair, list[str]] = {}
        for pair, source in data:
            by_pair.setdefault(pair, []).append(source)
        _refuse_both_ways(by_pair)
        plans = [
            plan_corpus(CorpusRequest(tuple(sources), clean=tuple(clean)), pair)
            for pair, sources in by_pair.items()
        ]
        files = _texts_by_language(texts)
        return cls([_load(plan, seed) for plan in plans], files)

    @property
    def languages(self) -> tuple[str, ...]:
        """BCP-47 codes, in the order in which they were named."""
        sides = [code for each in self._corpora for code in (each.pair.source, each.pair.target)]
        return tuple(dict.fromkeys([*sides, *self._texts]))

    @property
    def data(self) -> tuple[CorpusFacts, ...]:
        """What was read, for the recipe."""
        return tuple(
            CorpusFacts(str(each.pair), each.name, len(each.train), each.fingerprint)
            for each in self._corpora
        )

    @property
    def texts(self) -> tuple[TextFacts, ...]:
        """What the vocabulary saw besides, for the recipe."""
        return tuple(
            TextFacts(language, path.name, _digest(path)) for language, path in self._texts.items()
        )

    def draw(self, rng: Random) -> Phrase:
        """Return a segment in one direction or the other."""
        place = rng.randrange(self._ends[-1])
        number = bisect_right(self._ends, place)
        corpus = self._corpora[number]
        segment = corpus.train[place - self._ends[number - 1] if number else place]
        pair = corpus.pair
        if rng.random() < 0.5:
            return Phrase(pair.source, pair.target, segment.source, segment.target)
        return Phrase(pair.target, pair.source, segment.target, segment.source)

    def vocabulary(self) -> Iterator[str]:
        """Yield both sides of all training segments, and the further texts."""
        for corpus in self._corpora:
            for segment in corpus.train:
                yield segment.source
                yield segment.target
        for path in self._texts.values():
            yield from (line for line in read_lines(path) if line.strip())

    def held_out(self) -> Iterator[tuple[LanguagePair, Sequence[SentencePair]]]:
        """Yield the test segments split off each corpus, in both directions."""
        for corpus in self._corpora:
            pair = corpus.pair
            yield pair, corpus.test
            yield (
                LanguagePair(pair.target, pair.source),
                [SentencePair(s.target, s.source, s.kind, s.item) for s in corpus.test],
            )


def _load(plan: CorpusPlan, seed: int) -> CorpusSplits:
    corpus = plan.collect(seed=seed, train=TRAIN_LIMIT, dev=0, test=SCORED_SEGMENTS)
    if not len(corpus.train) or not len(corpus.test):
        assert corpus.report is not None, "files are always reported on"
        raise CorpusError(
            f"--data {plan.pair}: of {corpus.report.read:,} segments read, {len(corpus.train):,} "
            f"are left to train on and {len(corpus.test):,} to score; both are needed",
            field="data",
        )
    return corpus


def _refuse_both_ways(pairs: Iterable[LanguagePair]) -> None:
    """Refuse a pair beside its reverse: split apart, one would train on the other's test set."""
    seen: set[LanguagePair] = set()
    for pair in pairs:
        other = LanguagePair(pair.target, pair.source)
        if other in seen:
            raise CorpusError(
                f"--data names {other} and {pair}; a pair is trained in both directions, so "
                f"give its files as {other}",
                field="data",
            )
        seen.add(pair)


def _texts_by_language(texts: Sequence[tuple[str, Path]]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for code, path in texts:
        language = canonical(code)
        m2m_code(language)
        if language in files:
            raise CorpusError(f"--text names {language!r} twice; put it into one file")
        for _ in read_lines(path):  # a bad line is found before the long work begins
            pass
        files[language] = path
    return files


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
