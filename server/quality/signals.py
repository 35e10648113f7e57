"""Signals on each output that need no reference translation.

Length-normalised sequence log-probability is the best cheap detector of pathological translations
(Guerreiro et al., arXiv 2208.05309); length ratio and repetition name the two commonest ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Final

from hub.manifest import OutputRecord
from hub.text import normal
from server.messages import Candidate, Flag, Signals

MAX_PERIOD: Final = 16
MIN_REPEATS: Final = 3
REPETITION_LIMIT: Final = 0.5
RATIO_LIMITS: Final = (1 / 3, 3.0)
MIN_RATIO_TOKENS: Final = 8
"""Below this length on both sides a ratio says nothing: "no" may well become five tokens."""
MAX_UNKNOWN_CHARACTERS: Final = 8
LEAST_DEVIATION: Final = 0.02
"""Dev sets of near equal outputs would make any other output an outlier."""
LOW_Z: Final = -4.0
FAR_Z: Final = 4.0
FAR_RATIO: Final = 1.5
"""A length is out of the ordinary where it is far in deviations, and by this factor."""


def repetition(tokens: Sequence[int]) -> float:
    """Return the largest share of the tokens that lies in one loop, 0 to 1.

    A loop is a phrase of 1 to `MAX_PERIOD` tokens said `MIN_REPEATS` or more times in a row.
    """
    longest = max((_longest_loop(tokens, period) for period in _periods(tokens)), default=0)
    return longest / len(tokens) if tokens else 0.0


def _periods(tokens: Sequence[int]) -> range:
    return range(1, min(MAX_PERIOD, len(tokens) // MIN_REPEATS) + 1)


def _longest_loop(tokens: Sequence[int], period: int) -> int:
    longest = run = 0
    for before, token in zip(tokens, tokens[period:], strict=False):
        run = run + 1 if before == token else 0
        if run >= period * (MIN_REPEATS - 1):
            longest = max(longest, run + period)
    return longest


def text_tokens(source: tuple[int, ...], empty: tuple[int, ...]) -> tuple[int, ...]:
    """Return the tokens of a source that are the text's, in whichever layout its base has.

    Args:
        source: Encoder input of the text.
        empty: Encoder input of no text: what the layout puts in front of it and behind it.
    """
    front = _common(source, empty)
    behind = min(_common(source[::-1], empty[::-1]), len(empty) - front)
    return source[front : len(source) - behind]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def measure(
    source: Sequence[int], candidate: Candidate, expected: OutputRecord | None = None
) -> Signals:
    """Measure one output against its source; both without language and end tokens.

    Args:
        source: Tokens.
        candidate: The output.
        expected: What the adapter's outputs look like, None where that is not known.
    """
    mean, length = candidate.mean_log_probability, len(candidate.token_ids)
    ratio = length / max(1, len(source))
    z = length_z = None
    if expected is not None:
        z = _z(mean, expected.log_probability, expected.log_probability_deviation)
        if ratio:
            deviation = expected.log_length_ratio_deviation
            length_z = _z(math.log(ratio), expected.log_length_ratio, deviation)
    return Signals(mean, ratio, repetition(candidate.token_ids), z, length_z)


def _z(value: float, mean: float, deviation: float) -> float:
    return (value - mean) / max(deviation, LEAST_DEVIATION)


def judge(
    source: Sequence[int],
    candidate: Candidate,
    signals: Signals,
    expected: OutputRecord | None = None,
) -> tuple[Flag, ...]:
    """Return what to warn a reader of.

    A loop counts only as far as the source does not have one too: "1,000,000,000" repeats itself.

    Args:
        source: Tokens.
        candidate: The output.
        signals: What was measured of it.
        expected: What the adapter's outputs look like, None where that is not known.
    """
    flags: list[Flag] = []
    if not candidate.finished:
        flags.append(Flag.TRUNCATED)
    if signals.repetition >= max(REPETITION_LIMIT, repetition(source) + 0.25):
        flags.append(Flag.REPETITION)
    long = max(len(source), len(candidate.token_ids)) >= MIN_RATIO_TOKENS
    if long and _is_odd_length(signals, expected):
        flags.append(Flag.LENGTH_RATIO)
    if signals.log_probability_z is not None and signals.log_probability_z <= LOW_Z:
        flags.append(Flag.LOW_PROBABILITY)
    return tuple(flags)


def _is_odd_length(signals: Signals, expected: OutputRecord | None) -> bool:
    """Tell whether a length is out of the ordinary: of the adapter, or of any translation."""
    if expected is None or signals.length_ratio_z is None:
        return not RATIO_LIMITS[0] <= signals.length_ratio <= RATIO_LIMITS[1]
    apart = abs(math.log(signals.length_ratio) - expected.log_length_ratio)
    return abs(signals.length_ratio_z) >= FAR_Z and apart >= math.log(FAR_RATIO)


def judge_unknown(source: Sequence[int], candidate: Candidate, unk_id: int) -> tuple[Flag, ...]:
    """Return on which sides the vocabulary could not spell a text.

    A vocabulary with bytes can spell everything, and is never warned of.
    """
    flags: list[Flag] = []
    if unk_id in source:
        flags.append(Flag.UNKNOWN_CHARACTERS)
    if unk_id in candidate.token_ids:
        flags.append(Flag.UNKNOWN_TOKEN)
    return tuple(flags)


def unknown_characters(
    text: str, encode: Callable[[str], Sequence[int]], unk_id: int
) -> tuple[str, ...]:
    """Return the first characters of a source text that become the unknown token.

    Args:
        text: The source, which has some.
        encode: The tokenizer's way from a source to its tokens.
        unk_id: The unknown token.
    """
    found: list[str] = []
    for character in dict.fromkeys(normal(text)):
        if unk_id in encode(character):
            found.append(character)
        if len(found) == MAX_UNKNOWN_CHARACTERS:
            break
    return tuple(found)
