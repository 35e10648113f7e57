"""Translation edit rate (Snover et al. 2006) as sacreBLEU computes it, by target language.

    python -m hub.ter

reads post-edits as lines of JSON, `[hypothesis, correction, language]`, and answers each with
`[changes, words]`. TER searches for shifts of phrases and is in pure Python: an unlucky pair of
sentences takes seconds. A server therefore has it done by another process.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from hub.text import normal_target

if TYPE_CHECKING:
    from sacrebleu.metrics.ter import TER

CHINESE: Final = frozenset({"zh", "yue", "wuu", "lzh"})
UNSPACED: Final = frozenset({"th", "lo", "km", "my", "bo", "dz", "shn"})
"""Languages whose script has no spaces and which sacreBLEU does not cut."""
_NICENESS: Final = 10


def ter_metric(language: str, references: Sequence[Sequence[str]] | None = None) -> TER:
    """Return TER; for Chinese and Japanese with tercom's own way of cutting them."""
    from sacrebleu.metrics.ter import TER

    asian = language.partition("-")[0] in CHINESE | {"ja"}
    return TER(normalized=asian, asian_support=asian, references=references)


def pieces_for_ter(language: str) -> Callable[[str], str]:
    """Return what cuts a text into what TER takes for words."""
    return in_characters if language.partition("-")[0] in UNSPACED else _as_it_is


def in_characters(text: str) -> str:
    """Put a blank between any two characters."""
    return " ".join(character for character in text if not character.isspace())


def _as_it_is(text: str) -> str:
    return text


def changes_of(hypothesis: str, correction: str, language: str) -> tuple[float, float]:
    """Return the edits from a hypothesis to its correction, and the correction's words.

    Their quotient is HTER: TER against a reference that was made from the hypothesis.
    """
    pieces = pieces_for_ter(language)
    reference = pieces(normal_target(correction))
    metric = ter_metric(language, [[reference]])
    (found,) = metric._extract_corpus_statistics([pieces(normal_target(hypothesis))], None)
    changes, words = found
    return float(changes), float(words)


def main() -> None:
    """Answer lines until there are no more."""
    with suppress(OSError):
        os.nice(_NICENESS)
    for line in sys.stdin.buffer:
        print(json.dumps(changes_of(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
