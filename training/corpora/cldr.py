"""Aligned phrases from Unicode CLDR, for any pair of its locales.

CLDR, which comes with the Babel package, says in some 300 locales what software has to say:
dates, intervals, numbers, money, units, places, languages, lists of these. Sampling a phrase and
rendering it in two locales gives real, human-made parallel text without a download.

The splits are cut by *item*: the split of a phrase follows from a hash of what it says, the same
for every pair of languages and every seed. A base model trained on the train items of all
languages has therefore not seen the test items of any pair. A phrase made of names (a list of
territories) is trained on only if all its names are train names; in the test set, some of the
names inside a phrase are unseen, too.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import Literal

from babel import Locale, UnknownLocaleError

from hub.errors import CorpusError, LanguageError
from hub.languages import LanguagePair
from training.corpora.cldr_kinds import KINDS, Kind, Value
from training.corpora.model import CorpusSplits, SentencePair

Split = Literal["train", "dev", "test"]

LICENCE = "Unicode-3.0"
DEV_SHARE = 0.05
TEST_SHARE = 0.05
_MAX_DRAWS_PER_SEGMENT = 400
_BIDI_MARKS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_KIND_WEIGHTS = tuple(accumulate(kind.weight for kind in KINDS))


@dataclass(frozen=True)
class Phrase:
    """One thing to say, in no language yet."""

    kind: Kind
    value: Value

    @property
    def item(self) -> str:
        """Its identity, independent of style and language."""
        return f"{self.kind.name}:{self.kind.content(self.value)!r}"

    @property
    def split(self) -> Split | None:
        """The split it belongs to; None where a train phrase would give away an unseen name."""
        own = _split_of(self.kind.name, self.kind.content(self.value))
        parts = {_split_of(*part) for part in self.kind.parts(self.value)}
        unseen = {"train": {"dev", "test"}, "dev": {"test"}, "test": set()}[own]
        return None if parts & unseen else own

    def render(self, locale: Locale) -> str | None:
        """Say it in a locale; None where the locale has no words for it."""
        text = self.kind.render(self.value, locale)
        return fold(text) if text else None


def fold(text: str) -> str:
    """Return the text in NFC, typographic spaces as plain ones, bidirectional marks removed."""
    text = _BIDI_MARKS.sub("", unicodedata.normalize("NFC", text))
    return " ".join(text.split())


def sample_phrase(rng: Random) -> Phrase:
    """Draw a phrase of any kind, by the kinds' weights, from any split."""
    kind = rng.choices(KINDS, cum_weights=_KIND_WEIGHTS)[0]
    return Phrase(kind, kind.sample(rng))


@lru_cache(maxsize=512)
def locale_of(language: str) -> Locale:
    """Return CLDR's locale for a BCP-47 code.

    Raises:
        LanguageError: CLDR, as shipped with Babel, does not have it.
    """
    try:
        return Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError) as error:
        raise LanguageError(
            f"language {language!r} is not in CLDR; `hub corpus languages` lists those that are",
            field="language",
        ) from error


def build_corpus(pair: LanguagePair, *, seed: int, train: int, dev: int, test: int) -> CorpusSplits:
    """Sample a corpus for one pair.

    The same arguments and the same Babel version give the same corpus. Test and dev segments are
    drawn first; a train segment that shares a text with them, on either side, is dropped.

    Raises:
        LanguageError: CLDR lacks one of the languages.
        CorpusError: The pair does not have as many different segments as were asked for.
    """
    sizes: dict[Split, int] = {"test": test, "dev": dev, "train": train}
    if min(sizes.values()) < 0:
        raise CorpusError(f"corpus sizes {sizes} must not be negative", field="corpus")
    used: set[str] = set()
    splits: dict[Split, tuple[SentencePair, ...]] = {}
    for split, size in sizes.items():
        chosen = _draw_split(pair, split, size, seed, frozenset(used))
        used.update(text for segment in chosen for text in (segment.source, segment.target))
        splits[split] = tuple(chosen)
    return CorpusSplits(
        name="cldr",
        pair=pair,
        train=splits["train"],
        dev=splits["dev"],
        test=splits["test"],
        fingerprint=_fingerprint(splits),
        licence=LICENCE,
    )


def _draw_split(
    pair: LanguagePair, split: Split, size: int, seed: int, used: frozenset[str]
) -> list[SentencePair]:
    chosen: list[SentencePair] = []
    seen: set[tuple[str, str]] = set()
    rng = Random(f"{seed}:{split}:{pair}")
    for segment in _segments(pair, split, rng, size * _MAX_DRAWS_PER_SEGMENT):
        if len(chosen) == size:
            break
        texts = (segment.source, segment.target)
        if texts in seen or used.intersection(texts):
            continue
        seen.add(texts)
        chosen.append(segment)
    if len(chosen) < size:
        raise CorpusError(
            f"corpus cldr has only {len(chosen)} different {split} segments for {pair} "
            f"(asked: {size}); ask for fewer",
            field="corpus",
        )
    return chosen


def _segments(pair: LanguagePair, split: Split, rng: Random, draws: int) -> Iterator[SentencePair]:
    source_locale, target_locale = locale_of(pair.source), locale_of(pair.target)
    for _ in range(draws):
        phrase = sample_phrase(rng)
        if phrase.split != split:
            continue
        source, target = phrase.render(source_locale), phrase.render(target_locale)
        if source and target:
            yield SentencePair(source, target, phrase.kind.name, phrase.item)


@lru_cache(maxsize=65536)
def _split_of(kind: str, content: Value) -> Split:
    digest = hashlib.blake2b(f"{kind}:{content!r}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    if place < TEST_SHARE:
        return "test"
    return "dev" if place < TEST_SHARE + DEV_SHARE else "train"


def _fingerprint(splits: dict[Split, tuple[SentencePair, ...]]) -> str:
    digest = hashlib.sha256()
    for split in ("train", "dev", "test"):
        for segment in splits[split]:
            line = json.dumps([split, segment.source, segment.target], ensure_ascii=False)
            digest.update(line.encode() + b"\n")
    return f"sha256:{digest.hexdigest()}"
