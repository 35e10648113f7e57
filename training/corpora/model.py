"""What a parallel corpus is, whatever file or generator it came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from hub.languages import LanguagePair


@dataclass(frozen=True)
class SentencePair:
    """One aligned segment.

    Attributes:
        source: Text in the pair's source language.
        target: Its translation.
        kind: What sort of text it is ("date", "unit", …); the empty string where unknown.
        item: Stable identity of what is said, independent of language and wording.
    """

    source: str
    target: str
    kind: str
    item: str


@dataclass(frozen=True)
class CorpusSplits:
    """A corpus cut into train, dev and test, which share no item and no text.

    Attributes:
        name: The corpus's name as the user typed it.
        fingerprint: "sha256:…" of every line of every split, in order.
        licence: SPDX expression of the text's licence.
    """

    name: str
    pair: LanguagePair
    train: tuple[SentencePair, ...]
    dev: tuple[SentencePair, ...]
    test: tuple[SentencePair, ...]
    fingerprint: str
    licence: str

    def counts_by_kind(self) -> Mapping[str, Mapping[str, int]]:
        """Return `{split: {kind: segments}}`."""
        return {
            name: Counter(segment.kind for segment in split)
            for name, split in (("train", self.train), ("dev", self.dev), ("test", self.test))
        }
