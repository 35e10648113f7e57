"""One pass over the sources: clean, tell the splits apart, keep a sample; memory stays bounded.

Which split a segment belongs to follows from a hash of its source text in normal form, and from
nothing else: not from the file, the order, the seed or the other segments. All translations of one
text are therefore in one split. Dev and test take the segments with the smallest hashes of their
shares, training those with the smallest hashes under the run's seed, up to the number asked for.

Held in memory are the sample (as bytes), the dev and test sets, and 8 bytes for each different
segment read, by which duplicates are told.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hub.errors import CorpusError
from hub.languages import LanguagePair
from hub.text import is_blank
from training.corpora.clean import DUPLICATE, OVERLAP, Cleaning, normal
from training.corpora.digests import (
    BottomSample,
    Digests,
    SeenDigests,
    combined,
    digests_of,
    place,
    salted,
)
from training.corpora.formats import read_segments
from training.corpora.model import CorpusSplits, SentencePair, segments_fingerprint
from training.corpora.packed import PackedSegments, pack
from training.corpora.report import CorpusReport, SourceReport
from training.corpora.segments import Segment
from training.corpora.sources import DataSource

# Of the hashes of source texts, for the splits that have no file of their own.
SHARES: Final[Mapping[str, tuple[float, float]]] = {"test": (0.0, 0.05), "dev": (0.05, 0.1)}
HELD_OUT_LIMIT: Final = 50_000
EMPTY: Final = "empty"
UNKNOWN_LICENCE: Final = "unknown"
_ROWS: Final = 4096
_CHARACTERS: Final = 1 << 22
_NAME: Final = 200
_VERSION: Final = 1

Mask = NDArray[np.bool_]
HeldOut = int | DataSource
"""Where dev or test comes from: split off, at most so many segments, or a file of its own."""


def collect(
    pair: LanguagePair,
    sources: Sequence[DataSource],
    *,
    train: int,
    dev: HeldOut,
    test: HeldOut,
    cleaning: Cleaning,
    seed: int,
    licence: str = "",
) -> CorpusSplits:
    """Read sources into train, dev and test.

    Test goes before dev, and dev before train: what is in one of them is removed from those after
    it, where the filter `overlap` is on. Any split may come out empty.

    Args:
        pair: The languages.
        sources: Where training segments, and dev and test by number, come from.
        train: Training segments at most, copies by weight included.
        dev: A source, or how many segments to split off at most.
        test: The same.
        cleaning: The filters; dev and test files lose only segments with an empty side.
        seed: Draws the training sample where there are more than `train`.
        licence: What the user says the text's licence is.

    Raises:
        CorpusNotFoundError: There is no such file.
        CorpusError: A file's content is bad; the message has file and line.
    """
    files = {name: _held_out(part, pair) for name, part in (("dev", dev), ("test", test))}
    collector = _Collector(pair, sources, files, train=train, cleaning=cleaning, seed=seed)
    for number, source in enumerate(sources):
        collector.read(number, source)
    return collector.splits(licence or UNKNOWN_LICENCE)


@dataclass(frozen=True)
class _HeldOutSet:
    """A dev or test set: from a file, or a number of segments still to be split off."""

    wanted: int
    segments: tuple[SentencePair, ...] | None = None


def _held_out(part: HeldOut, pair: LanguagePair) -> _HeldOutSet:
    if isinstance(part, int):
        return _HeldOutSet(part)
    return _HeldOutSet(0, read_held_out(part, pair))


def read_held_out(source: DataSource, pair: LanguagePair) -> tuple[SentencePair, ...]:
    """Return all segments of a dev or test file that have both sides.

    Raises:
        CorpusNotFoundError: There is no such file.
        CorpusError: It has none, or too many to decode in reasonable time.
    """
    report = SourceReport(source.name, source.format, 1.0)
    found: list[SentencePair] = []
    for line, text, translation in read_segments(source, pair, report.skipped):
        if not (is_blank(text) or is_blank(translation)):
            item = f"{source.name}:{line}"
            found.append(SentencePair(text.strip(), translation.strip(), source.name, item))
        if len(found) > HELD_OUT_LIMIT:
            raise CorpusError(
                f"{source.where}: a dev or test set of more than {HELD_OUT_LIMIT:,} segments, the "
                "limit; take a part of it",
                field="data",
            )
    if not found:
        raise CorpusError(f"{source.where}: there is no segment for {pair} in it", field="data")
    return tuple(found)


class _Collector:
    """Holds what is kept while the sources stream by."""

    def __init__(
        self,
        pair: LanguagePair,
        sources: Sequence[DataSource],
        held_out: dict[str, _HeldOutSet],
        *,
        train: int,
        cleaning: Cleaning,
        seed: int,
    ) -> None:
        self._pair = pair
        self._sources = sources
        self._held_out = held_out
        self._cleaning = cleaning
        self._seed = seed
        self._filters = cleaning.build(pair)
        self._seen = SeenDigests()
        self._train = BottomSample(train)
        self._parts = {name: BottomSample(part.wanted) for name, part in held_out.items()}
        self._counts = dict.fromkeys(("train", "dev", "test"), 0)
        self._reports: list[SourceReport] = []
        test, dev = (held_out[name].segments or () for name in ("test", "dev"))
        self._known = {"test": None, "dev": _sides(test), "train": _sides([*test, *dev])}

    def read(self, number: int, source: DataSource) -> None:
        """Stream one source."""
        report = SourceReport(source.name, source.format, source.weight)
        self._reports.append(report)
        content = hashlib.sha256()
        for chunk in _chunks(read_segments(source, self._pair, report.skipped)):
            content.update(_content(source, chunk))
            report.read += len(chunk)
            self._take(number, source, report, self._clean(report, chunk))
        report.digest = f"sha256:{content.hexdigest()}"

    def _clean(self, report: SourceReport, chunk: Sequence[Segment]) -> list[Segment]:
        kept = []
        for segment in chunk:
            source, target = segment.source.strip(), segment.target.strip()
            reason = EMPTY if is_blank(source) or is_blank(target) else ""
            for name, removes in self._filters if not reason else ():
                if removes(source, target):
                    reason = name
                    break
            if reason:
                report.remove(reason, segment)
            else:
                kept.append(Segment(segment.line, source, target))
        return kept

    def _take(
        self, number: int, source: DataSource, report: SourceReport, chunk: list[Segment]
    ) -> None:
        """Sort cleaned segments into the splits."""
        sides = _digest_sides(chunk)
        digests = combined(*sides)
        keep = np.ones(len(chunk), dtype=np.bool_)
        if self._cleaning.has(DUPLICATE):
            keep = self._seen.add(digests)
            _report(report, DUPLICATE, chunk, ~keep)
        where = place(sides[0])
        for name, (low, high) in SHARES.items():
            if self._held_out[name].wanted:
                share = keep & (where >= low) & (where < high)
                keep = keep & ~share
                share = self._unseen(name, report, chunk, sides, share)
                self._counts[name] += int(share.sum())
                self._offer(self._parts[name], number, chunk, salted(digests, name), share)
        keep = self._unseen("train", report, chunk, sides, keep)
        self._offer_weighted(number, source.weight, chunk, digests, keep)

    def _unseen(
        self,
        name: str,
        report: SourceReport,
        chunk: list[Segment],
        sides: tuple[Digests, Digests],
        chosen: Mask,
    ) -> Mask:
        """Return those of the chosen that no file of a split before this one has, and count."""
        known = self._known[name]
        if known is not None and self._cleaning.has(OVERLAP):
            lost = chosen & _overlaps(sides, known)
            _report(report, OVERLAP, chunk, lost)
            chosen = chosen & ~lost
        report.kept += int(chosen.sum())
        return chosen

    def _offer_weighted(
        self, number: int, weight: float, chunk: list[Segment], digests: Digests, keep: Mask
    ) -> None:
        """Offer each segment as often as its source's weight says, a fraction by hash."""
        for copy in range(math.ceil(weight)):
            chosen = keep
            if weight < copy + 1:
                chosen = keep & (place(salted(digests, "weight")) < weight - copy)
            self._counts["train"] += int(chosen.sum())
            keys = salted(digests, f"train/{self._seed}/{copy}")
            self._offer(self._train, number, chunk, keys, chosen)

    @staticmethod
    def _offer(
        sample: BottomSample, number: int, chunk: list[Segment], keys: Digests, chosen: Mask
    ) -> None:
        for index in sample.candidates(keys).tolist():
            if chosen[index]:
                sample.offer(int(keys[index]), pack(number, *chunk[index]))

    def splits(self, licence: str) -> CorpusSplits:
        """Return what was kept."""
        names = [source.name for source in self._sources]
        test = self._part("test", names)
        dev, lost_dev = self._without(self._part("dev", names), test)
        train, lost_train = self._without(PackedSegments(self._train.drain(), names), [*test, *dev])
        report = self._report(len(train) + lost_train, len(dev) + lost_dev, len(test))
        report = replace(report, overlap=lost_dev + lost_train)
        return CorpusSplits(
            name=_label(self._sources),
            pair=self._pair,
            train=train,
            dev=dev,
            test=test,
            fingerprint=_fingerprint(report, {"train": train, "dev": dev, "test": test}),
            licence=licence,
            report=report,
        )

    def _part(self, name: str, names: Sequence[str]) -> Sequence[SentencePair]:
        segments = self._held_out[name].segments
        if segments is not None:
            return segments
        return tuple(PackedSegments(self._parts[name].drain(), names))

    def _without(
        self, segments: Sequence[SentencePair], others: Sequence[SentencePair]
    ) -> tuple[Sequence[SentencePair], int]:
        """Return the segments that share no side with others, and how many do."""
        if not self._cleaning.has(OVERLAP) or not others or not len(segments):
            return segments, 0
        known = _sides(others)
        lost = np.concatenate(
            [
                _overlaps(_digest_sides(segments[start : start + _ROWS]), known)
                for start in range(0, len(segments), _ROWS)
            ]
        )
        if not lost.any():
            return segments, 0
        return _at(segments, np.nonzero(~lost)[0]), int(lost.sum())

    def _report(self, train: int, dev: int, test: int) -> CorpusReport:
        chosen = {"dev": dev, "test": test}
        unused = sum(
            self._counts[name] - chosen[name]
            for name, part in self._held_out.items()
            if part.wanted
        )
        built = {name for name, _ in self._filters}
        asked = {name for name in self._cleaning.settings if name not in (DUPLICATE, OVERLAP)}
        return CorpusReport(
            tuple(self._reports),
            self._cleaning,
            not_judged=tuple(sorted(asked - built)),
            unused=unused,
            over_limit=self._counts["train"] - train,
        )


def _at(segments: Sequence[SentencePair], indices: NDArray[np.intp]) -> Sequence[SentencePair]:
    if isinstance(segments, PackedSegments):
        return segments.at(indices.tolist())
    return tuple(segments[index] for index in indices.tolist())


def _chunks(segments: Iterator[Segment]) -> Iterator[list[Segment]]:
    """Yield a few thousand segments at a time, fewer where they are long."""
    chunk: list[Segment] = []
    size = 0
    for segment in segments:
        chunk.append(segment)
        size += len(segment.source) + len(segment.target)
        if len(chunk) >= _ROWS or size >= _CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _content(source: DataSource, chunk: Sequence[Segment]) -> bytes:
    """Return bytes that name the texts of some segments, however they are chunked."""
    try:
        return "".join(f"{len(s)}:{s}{len(t)}:{t}" for _, s, t in chunk).encode()
    except UnicodeEncodeError:
        for line, *sides in chunk:
            if any("\ud800" <= character <= "\udfff" for side in sides for character in side):
                raise CorpusError(
                    f"{source.where}:{line}: a lone surrogate, which is no character", field="data"
                ) from None
        raise


def _digest_sides(segments: Sequence[Segment] | Sequence[SentencePair]) -> tuple[Digests, Digests]:
    pairs = [(segment.source, segment.target) for segment in segments]
    return (
        digests_of(normal(source) for source, _ in pairs),
        digests_of(normal(target) for _, target in pairs),
    )


def _sides(segments: Sequence[SentencePair]) -> tuple[Digests, Digests]:
    source, target = _digest_sides(segments)
    return np.unique(source), np.unique(target)


def _overlaps(sides: tuple[Digests, Digests], known: tuple[Digests, Digests]) -> Mask:
    """Return which segments have a side in common with known ones, source or target."""
    found: Mask = np.isin(sides[0], known[0]) | np.isin(sides[1], known[1])
    return found


def _report(report: SourceReport, name: str, chunk: Sequence[Segment], removed: Mask) -> None:
    for index in np.nonzero(removed)[0].tolist():
        report.remove(name, chunk[index])


def _label(sources: Sequence[DataSource]) -> str:
    names = [s.name if s.weight == 1 else f"{s.weight:g}@{s.name}" for s in sources]
    label = " + ".join(names)
    return label if len(label) <= _NAME else label[: _NAME - 1] + "…"


def _fingerprint(report: CorpusReport, splits: dict[str, Sequence[SentencePair]]) -> str:
    """Return the identity of what was read, how it was cleaned, and what came out."""
    facts = {
        "version": _VERSION,
        "sources": [[source.digest, source.weight] for source in report.sources],
        "cleaning": dict(report.cleaning.settings),
        "splits": {name: segments_fingerprint(segments) for name, segments in splits.items()},
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
