"""What a parallel corpus is, whatever file or generator it came from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.languages import LanguagePair

if TYPE_CHECKING:
    from training.corpora.report import CorpusReport


@dataclass(frozen=True)
class SentencePair:
    """One aligned segment.

    Attributes:
        source: Text in the pair's source language.
        target: Its translation.
        kind: What sort of text it is ("date", "unit", …), or the name of the file it is from.
        item: Stable identity of what is said, independent of language and wording; "file:line"
            where the text is from a file.
    """

    source: str
    target: str
    kind: str
    item: str


@dataclass(frozen=True)
class CorpusSplits:
    """A corpus cut into train, dev and test, which share no item and no text.

    Attributes:
        name: The corpus's name, without folders of this machine.
        fingerprint: "sha256:…" of every line of every split, in order; of files also of what was
            read and how it was cleaned.
        licence: SPDX expression of the text's licence, or what the user calls it.
        report: What reading and cleaning did; None where nothing was read from files.
    """

    name: str
    pair: LanguagePair
    train: Sequence[SentencePair]
    dev: Sequence[SentencePair]
    test: Sequence[SentencePair]
    fingerprint: str
    licence: str
    report: CorpusReport | None = None

    def counts_by_kind(self) -> Mapping[str, Mapping[str, int]]:
        """Return `{split: {kind: segments}}`."""
        return {
            name: Counter(segment.kind for segment in split)
            for name, split in (("train", self.train), ("dev", self.dev), ("test", self.test))
        }


def segments_fingerprint(segments: Sequence[SentencePair]) -> str:
    """Return "sha256:…" of the texts of some segments, in order."""
    digest = hashlib.sha256()
    for segment in segments:
        line = json.dumps([segment.source, segment.target], ensure_ascii=False)
        digest.update(line.encode() + b"\n")
    return f"sha256:{digest.hexdigest()}"
