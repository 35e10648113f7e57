"""What an adapter's outputs look like, for the server to compare those of its callers with."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from hub.languages import LanguagePair
from hub.manifest import OutputRecord
from training.evidence.decode import Decoder, spread

if TYPE_CHECKING:
    from training.corpora import SentencePair

LINES: Final = 200
LEAST_LINES: Final = 20
"""A deviation of fewer says little."""


def output_record(
    decoder: Decoder, pair: LanguagePair, dev: Sequence[SentencePair]
) -> OutputRecord | None:
    """Decode a part of the dev set with the placed adapter, as it will be served, and sum it up.

    Outputs that are cut at the limit are left out: they are loops, and no example of what to
    expect. None where fewer than `LEAST_LINES` are left.

    Args:
        decoder: Holds the adapter.
        pair: The direction.
        dev: Of it, evenly spaced segments are taken.
    """
    found = [
        (found.log_probability / (len(found.token_ids) + 1), len(found.token_ids) / tokens)
        for found, tokens in decoder.outputs(pair, [one.source for one in spread(dev, LINES)])
        if found.finished and found.token_ids and tokens
    ]
    if len(found) < LEAST_LINES:
        return None
    probabilities = [each for each, _ in found]
    ratios = [math.log(ratio) for _, ratio in found]
    return OutputRecord(
        items=len(found),
        log_probability=round(statistics.fmean(probabilities), 6),
        log_probability_deviation=round(statistics.stdev(probabilities), 6),
        log_length_ratio=round(statistics.fmean(ratios), 6),
        log_length_ratio_deviation=round(statistics.stdev(ratios), 6),
        signature=decoder.signature,
    )
