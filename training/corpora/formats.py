"""The formats, each with its reader: the one place to add another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from hub.text import is_blank
from training.corpora.csv_table import read_csv
from training.corpora.feedback import read_feedback
from training.corpora.hf import read_hf
from training.corpora.moses import read_moses
from training.corpora.po import read_po
from training.corpora.segments import Reader, Segment, Skipped, one_line
from training.corpora.sources import FEEDBACK, DataSource
from training.corpora.tables import read_jsonl, read_tsv
from training.corpora.tmx import read_tmx
from training.corpora.xliff import read_xliff

READERS: Final[Mapping[str, Reader]] = {
    "tsv": read_tsv,
    "csv": read_csv,
    "jsonl": read_jsonl,
    "moses": read_moses,
    "tmx": read_tmx,
    "xliff": read_xliff,
    "po": read_po,
    "hf": read_hf,
    FEEDBACK: read_feedback,
}


def read_segments(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield a source's segments in the pair's direction, in the order of the file.

    Args:
        source: Where to read from; a folder under no format's name is a dataset.
        pair: The languages wanted.
        skipped: Counts what the format itself marks as no translation.

    Raises:
        CorpusNotFoundError: There is no such file.
        CorpusError: The content is not what the format says; the message has file and line.
    """
    if source.format == "moses" and Path(source.path).is_dir():
        source = replace(source, format="hf")
    empty = 0
    is_filled = False
    for line, text, translation in READERS[source.format](source, pair, skipped):
        segment = Segment(line, one_line(text), one_line(translation))
        if not is_filled:
            is_filled = not (is_blank(segment.source) or is_blank(segment.target))
            empty += not is_filled
        yield segment
    if not is_filled:
        raise _nothing_read(source, pair, skipped, empty)


def _nothing_read(
    source: DataSource, pair: LanguagePair, skipped: Skipped, empty: int
) -> CorpusError:
    counts = {**skipped, "with an empty side": empty}
    reasons = [f"{count:,} {reason}" for reason, count in counts.items() if count]
    why = f"all its entries were left out: {', '.join(reasons)}" if reasons else "it has no entries"
    return CorpusError(
        f"{source.where}: there is no segment for {pair} in it; {why}. Correct it or leave it out",
        field="data",
    )
