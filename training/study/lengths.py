"""Quality by the length of the source: gain over the base on the items of a length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from training.evidence.lengths import LIMITS
from training.study.axes import FULL
from training.study.resampling import Estimate, Resampler, difference
from training.study.results import Results, System

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.study.file import StudyFile

LEAST_ITEMS: Final = 10


@dataclass(frozen=True)
class LengthGain:
    """What a system gains over the base on sources of a length.

    Attributes:
        span: The length in words, such as "6–10".
        low: Where it begins.
        items: How many test items have it.
    """

    base: str
    pair: str
    system: str
    span: str
    low: int
    items: int
    gain: Estimate


def gains_by_length(study: StudyFile, results: Results) -> Iterator[LengthGain]:
    """Yield the gains of the claimed adapter and of full fine-tuning, on the largest data."""
    train, asked = max(results.sizes, default=0), study.claims
    resampler = results.resampler
    for system in results.systems:
        claimed = system.method == asked.method and system.budget in (asked.budget, None)
        if system.train == train and (claimed or system.method == FULL):
            sized = "" if system.budget is None else f" {100 * system.budget:g} %"
            name = "full fine-tuning" if system.method == FULL else f"{system.method}{sized}"
            yield from _of_system(results, system, name, resampler)


def _of_system(
    results: Results, system: System, name: str, resampler: Resampler
) -> Iterator[LengthGain]:
    import numpy as np

    base = results.base_of(system)
    if base is None or len(base.statistics[0]) != len(system.statistics[0]):
        return
    lengths = base.runs[0]["lengths"]
    limits = LIMITS[lengths["unit"]]
    bucket_of = np.searchsorted(limits, np.array(lengths["of_item"]))
    for bucket in sorted({int(each) for each in bucket_of}):
        inside = bucket_of == bucket
        if inside.sum() >= LEAST_ITEMS:
            low = limits[bucket - 1] + 1 if bucket else 1
            span = f"{low}–{limits[bucket]}" if bucket < len(limits) else f"over {limits[-1]}"
            gain = _gain(system, base, inside, f"{bucket}", resampler)
            yield LengthGain(system.base, system.pair, name, span, low, int(inside.sum()), gain)


def _gain(
    system: System, base: System, inside: NDArray[Any], bucket: str, resampler: Resampler
) -> Estimate:
    test = f"{system.runs[0]['test_fingerprint']} {bucket}"
    label = f"{system.base} {system.pair} {system.method} {system.budget} {bucket}"
    ours = resampler.estimate(label, test, [run[inside] for run in system.statistics], trained=True)
    plain = resampler.estimate(
        "base", test, [run[inside] for run in base.statistics], trained=False
    )
    return difference(ours, plain)
