"""What is translated: random sources of one length into exactly so many tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.engine.shortlists import Shortlist

END: Final = 2
"""The token that ends an output."""

PREFIX: Final = 7
"""The token that every output is forced to begin with, as a language token is."""
_FIRST: Final = 10
_LAST: Final = 7999


@dataclass(frozen=True, slots=True)
class Workload:
    """Lengths, in tokens; the forced first token of the target does not count.

    Attributes:
        spread: How much shorter or longer than `target_tokens` a target of `lengths` may be.
    """

    source_tokens: int = 25
    target_tokens: int = 32
    spread: int = 0

    def sources(self, count: int, seed: int = 1) -> list[list[int]]:
        """Return random sources."""
        draw = random.Random(seed)
        return [
            [draw.randint(_FIRST, _LAST) for _ in range(self.source_tokens)] for _ in range(count)
        ]

    def lengths(self, count: int, seed: int = 2) -> list[int]:
        """Return target lengths, spread evenly around `target_tokens`."""
        draw = random.Random(seed)
        low, high = self.target_tokens - self.spread, self.target_tokens + self.spread
        return [draw.randint(low, high) for _ in range(count)]

    def requests(
        self,
        count: int,
        beam: int,
        slots: Sequence[int],
        shortlists: Sequence[Shortlist | None] = (None,),
    ) -> list[DecodeRequest]:
        """Return engine requests, slots and shortlists taken in turn."""
        options = DecodingOptions(
            beam_size=beam, max_new_tokens=self.target_tokens, min_new_tokens=self.target_tokens
        )
        return [
            DecodeRequest(
                key, tuple(source), (PREFIX,), slots[key % len(slots)], options,
                shortlist=shortlists[key % len(shortlists)],
            )
            for key, source in enumerate(self.sources(count))
        ]  # fmt: skip


def random_shortlists(count: int, pieces: int, vocabulary: int, seed: int = 3) -> list[Shortlist]:
    """Return different lists of random tokens, as large as those of languages.

    Args:
        count: How many; 0 for none.
        pieces: Tokens of each, the end token included.
        vocabulary: The base's tokens.
        seed: Of the choice.
    """
    draw = random.Random(seed)
    tokens = range(END + 1, vocabulary)
    return [Shortlist([END, *draw.sample(tokens, pieces - 1)]) for _ in range(count)]
