"""Gain over the base on parts of the test set: by the source's length, by how much of it is new."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from training.evidence.lengths import LIMITS
from training.study.axes import FULL
from training.study.estimate import Estimate, difference
from training.study.novelty import CLASSES, class_of
from training.study.results import Results, System, item_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.study.file import StudyFile

LEAST_ITEMS: Final = 10


@dataclass(frozen=True)
class Slice:
    """Some items of a test set.

    Attributes:
        label: Says which, such as "6–10".
        place: Orders the slices of a set.
        inside: (items,), which are in it.
    """

    label: str
    place: int
    inside: NDArray[Any]


@dataclass(frozen=True)
class SliceGain:
    """What a system gains over the base on a slice of `items` test items."""

    base: str
    pair: str
    system: str
    label: str
    place: int
    items: int
    gain: Estimate


Slicing = Callable[[System, System], Iterator[Slice]]


def by_length(system: System, base: System) -> Iterator[Slice]:
    """Yield the items of each length of the source."""
    import numpy as np

    lengths = base.runs[0]["lengths"]
    limits = LIMITS[lengths["unit"]]
    bucket_of = np.searchsorted(limits, np.array(lengths["of_item"]))
    for bucket in sorted({int(each) for each in bucket_of}):
        low = limits[bucket - 1] + 1 if bucket else 1
        label = f"{low}–{limits[bucket]}" if bucket < len(limits) else f"over {limits[-1]}"
        yield Slice(label, low, bucket_of == bucket)


def by_novelty(system: System, base: System) -> Iterator[Slice]:
    """Yield the items by the share of their phrases that the training segments do not have.

    Cells of earlier releases do not have that share.
    """
    import numpy as np

    novelty = system.runs[0].get("novelty")
    if novelty is None:
        return
    classes = np.array([class_of(share) for share in novelty["of_item"]])
    for place, label in enumerate(CLASSES):
        yield Slice(label, place, classes == place)


def gains(study: StudyFile, results: Results, slicing: Slicing) -> Iterator[SliceGain]:
    """Yield the gains of the claimed adapter and of full fine-tuning, on the largest data.

    Slices with fewer than `LEAST_ITEMS` items are left out.
    """
    train, asked = max(results.sizes, default=0), study.claims
    for system in results.systems:
        claimed = system.method == asked.method and system.budget in (asked.budget, None)
        if system.train != train or not (claimed or system.method == FULL):
            continue
        base = results.base_of(system)
        if base is not None and len(base.statistics[0]) == len(system.statistics[0]):
            for part in slicing(system, base):
                if part.inside.sum() >= LEAST_ITEMS:
                    yield _gain(results, system, base, part)


def _gain(results: Results, system: System, base: System, part: Slice) -> SliceGain:
    names = [name for name, own in zip(item_names(base.runs[0]), part.inside, strict=True) if own]
    label = f"{system.base} {system.pair} {system.method} {system.budget} {part.label}"
    ours, plain = (
        results.resampler.estimate(
            name, names, [run[part.inside] for run in each.statistics], trained=each.trained
        )
        for name, each in ((label, system), ("base", base))
    )
    return SliceGain(
        base=system.base,
        pair=system.pair,
        system=_title(system),
        label=part.label,
        place=part.place,
        items=len(names),
        gain=difference(ours, plain),
    )


def _title(system: System) -> str:
    sized = "" if system.budget is None else f" {100 * system.budget:g} %"
    return "full fine-tuning" if system.method == FULL else f"{system.method}{sized}"
