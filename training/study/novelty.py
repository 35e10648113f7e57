"""How much of a test item was in the training segments: the share of its phrases that is new.

A phrase is two words in a row, of languages that are written without spaces four characters; an
item that is shorter is one phrase. Letter case does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from training.evidence.lengths import Unit, unit_of

PHRASE: Final[dict[Unit, int]] = {"words": 2, "characters": 4}
CLASSES: Final = ("all seen", "≤ ½ new", "> ½ new")


def class_of(share: float) -> int:
    """Return the index in `CLASSES` of a share of new phrases."""
    return 0 if share == 0 else 1 if share <= 0.5 else 2


def novelty(tests: Sequence[str], training: Iterable[str], language: str) -> dict[str, Any]:
    """Return the share of new phrases of each test source, as a fact of a cell.

    Args:
        tests: Sources of the test items.
        training: Sources of the training segments.
        language: Of all of them.
    """
    unit = unit_of(language)
    seen = {phrase for text in training for phrase in phrases(text, unit)}
    return {"unit": unit, "phrase": PHRASE[unit], "of_item": [_new(t, unit, seen) for t in tests]}


def _new(text: str, unit: Unit, seen: set[str]) -> float:
    own = list(phrases(text, unit))
    return round(sum(each not in seen for each in own) / len(own), 4)


def phrases(text: str, unit: Unit) -> Iterator[str]:
    """Yield the phrases of a text; the whole text where it is shorter than one."""
    words = text.casefold().split()
    pieces = words if unit == "words" else list("".join(words))
    glue = " " if unit == "words" else ""
    size = PHRASE[unit]
    for start in range(max(1, len(pieces) - size + 1)):
        yield glue.join(pieces[start : start + size])
