"""A translator that loses, doubles, moves and invents words, and says where each came from."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from server.translation.offsets import Link, UnitTranslation

INVENTED = [
    "wort", "言葉", "{name}", "%s", "%", "5%", "{", "}", "{{x}}", "$", "27", "32", "37", "<b>",
    "&amp;", "www.x.org", "٢٧", "0032", "http://", "{0", "plural,", "\ufffc", "Acme", "@x.org",
    "%%", "\u00a0",
]  # fmt: skip


def careless(text: str, seed: int, *, aligned: bool = True, noise: float = 0.2) -> UnitTranslation:
    """Return a bad translation; the same for the same seed."""
    choose = random.Random(seed)
    words = [found.span() for found in re.finditer(r"\S+", text)]
    kept: list[tuple[str, tuple[int, int] | None]] = []
    for start, end in words:
        if choose.random() < noise:
            continue
        for _ in range(1 + (choose.random() < noise)):
            kept.append((text[start:end], (start, end)))
        if choose.random() < noise:
            kept.append((choose.choice(INVENTED), None))
    if choose.random() < 0.5:
        choose.shuffle(kept)
    return joined(kept, choose, aligned=aligned)


def joined(
    words: Sequence[tuple[str, tuple[int, int] | None]], choose: random.Random, *, aligned: bool
) -> UnitTranslation:
    pieces: list[str] = []
    links: list[Link] = []
    length = 0
    for word, source in words:
        gap = "" if choose.random() < 0.1 else " "
        pieces += [gap, word]
        length += len(gap)
        if source is not None and aligned:
            links.append(Link(length, length + len(word), *source))
        length += len(word)
    return UnitTranslation("".join(pieces), tuple(links))
