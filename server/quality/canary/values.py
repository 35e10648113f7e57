"""What a request says of the version that served it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

from hub.errors import CorruptError, EngineError, HubError, IncompatibleAdapterError
from server.messages import Flag, ItemResult
from server.quality.canary.rules import (
    FAILED,
    LENGTH,
    LOG_PROBABILITY,
    REPETITION,
    SLOWNESS,
    WARNED,
)

_OF_THE_SOURCE: Final = frozenset({Flag.SPLIT, Flag.UNCERTAIN_LANGUAGE, Flag.UNKNOWN_CHARACTERS})
"""Warnings that no adapter can do anything about."""
_LEAST: Final = 1e-6


def values_of(items: Sequence[ItemResult], digest: str) -> Mapping[str, float] | None:
    """Return a request's values by signal; None where it says nothing of the version.

    Texts that were refused, cancelled or not done in time say nothing.

    Args:
        items: What became of its texts.
        digest: Of the version; a text that another one had to translate counts as warned.
    """
    failed = [item for item in items if item.error is not None and blames_adapter(item.error)]
    done = [item for item in items if item.error is None and item.output_tokens]
    if not failed and not done:
        return None
    values = {FAILED.name: len(failed) / (len(failed) + len(done))}
    if not done:
        return values
    return values | {
        LOG_PROBABILITY.name: fmean(_log_probability(item, digest) for item in done),
        WARNED.name: fmean(_is_warned(item, digest) for item in done),
        REPETITION.name: fmean(item.signals.repetition for item in done),
        LENGTH.name: fmean(math.log(max(_LEAST, item.signals.length_ratio)) for item in done),
        SLOWNESS.name: fmean(math.log2(_seconds_per_token(item)) for item in done),
    }


def blames_adapter(error: HubError) -> bool:
    """Tell whether an error is the version's own: it cannot be read, placed or computed."""
    return isinstance(error, EngineError | CorruptError | IncompatibleAdapterError)


def latency_of(items: Sequence[ItemResult]) -> float | None:
    """Return how long the slowest text of a request took, the queue included, in seconds."""
    took = [item.timings.ended_at - item.timings.accepted_at for item in items if not item.error]
    return max(took, default=None)


def _is_warned(item: ItemResult, digest: str) -> bool:
    again = item.second_try is not None or item.adapter_digest != digest
    return again or not _OF_THE_SOURCE.issuperset(item.flags)


def _log_probability(item: ItemResult, digest: str) -> float:
    if _is_warned(item, digest):
        return LOG_PROBABILITY.low
    return item.signals.mean_log_probability


def _seconds_per_token(item: ItemResult) -> float:
    seconds = item.timings.encode_seconds + item.timings.decode_seconds
    return max(_LEAST, seconds / max(1, item.input_tokens + item.output_tokens))
