"""Scores by the length of the source: where an adapter helps, and where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from hub.manifest import LengthRecord, LengthScore
from hub.ter import CHINESE, UNSPACED
from training.evidence.scoring import Measure
from training.evidence.significance import compare

if TYPE_CHECKING:
    from numpy.typing import NDArray

Unit = Literal["words", "characters"]
LIMITS: Final[dict[Unit, tuple[int, ...]]] = {
    "words": (5, 10, 20, 40),
    "characters": (10, 20, 40, 80),
}
"""Longest source of each bucket but the last, which has no end."""


def unit_of(language: str) -> Unit:
    """Return what a source's length is counted in: words between spaces, where there are spaces."""
    return "characters" if language.partition("-")[0] in CHINESE | UNSPACED | {"ja"} else "words"


def length_of(text: str, unit: Unit) -> int:
    """Return a text's length; blanks do not count."""
    words = text.split()
    return len(words) if unit == "words" else sum(map(len, words))


def by_length(
    sources: Sequence[str], language: str, base: Sequence[Measure], adapter: Sequence[Measure]
) -> tuple[LengthRecord, ...]:
    """Score base and adapter by source length; lengths that no item has are left out."""
    import numpy as np

    unit = unit_of(language)
    limits = LIMITS[unit]
    lengths = np.array([length_of(text, unit) for text in sources])
    bucket_of = np.searchsorted(limits, lengths)
    return tuple(
        LengthRecord(
            unit=unit,
            low=limits[bucket - 1] + 1 if bucket else 0,
            high=limits[bucket] if bucket < len(limits) else None,
            items=int((bucket_of == bucket).sum()),
            scores=_scores(base, adapter, bucket_of == bucket),
        )
        for bucket in sorted({int(each) for each in bucket_of})
    )


def _scores(
    base: Sequence[Measure], adapter: Sequence[Measure], inside: NDArray[Any]
) -> tuple[LengthScore, ...]:
    ours, theirs = ([each.part(inside) for each in system] for system in (adapter, base))
    return tuple(
        LengthScore(
            metric=found.metric,
            base=round(two.score.value, 4),
            adapter=round(one.score.value, 4),
            p_value=found.p_value,
        )
        for found, one, two in zip(compare(ours, theirs, "base"), ours, theirs, strict=True)
    )
