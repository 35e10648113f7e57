"""Which language a text is in: what its script says, and py3langid for the rest.

The script alone decides where one language of the base is written in it (Hangul, Thai). Among
several, py3langid's Naive Bayes over byte n-grams decides (Lui & Baldwin 2012; its model comes with
the package), limited to languages of that script. Only the base's languages are candidates: a text
in another one is given the nearest of them, with a low confidence.
"""

from __future__ import annotations

import copy
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from hub.errors import LanguageError
from hub.languages import canonical
from hub.scripts import script_of, scripts_of
from server.messages import Detected
from server.quality.language import language_model

UNKNOWN: Final = Detected("und", 0.0)
MAX_DETECTIONS: Final = 5
MAX_CHARACTERS: Final = 2000
"""Of a text; more of it tells nothing new."""
UNCERTAIN: Final = 0.7
"""Below this confidence a reader is warned."""
REFUSED: Final = 0.2
"""Below this confidence a text is not translated: the language is a guess among many."""

# What py3langid calls otherwise than the bases do.
_SAME: Final = {"no": "nb", "wuu": "zh", "yue": "zh", "gcf": "ht", "gcr": "ht", "pcm": "en"}
_CHINESE: Final = (("zh-Hans", "gb2312"), ("zh-Hant", "big5"))


@dataclass(slots=True)
class Detector:
    """Tells languages apart; thread-safe.

    Attributes:
        languages: The candidates, BCP-47.
    """

    languages: frozenset[str]
    _model: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def detect(self, text: str) -> list[Detected]:
        """Return the most probable languages, best first; none for a text without letters."""
        text = text[:MAX_CHARACTERS]
        script = _main_script(text)
        if not script:
            return []
        candidates = {one for one in self.languages if script in scripts_of(one)}
        plain = {_plain(one) for one in candidates}
        if not plain:
            return []
        ranked = [(plain.pop(), 1.0)] if len(plain) == 1 else self._rank(text, plain)
        found = [Detected(_variety(one, candidates, text), share) for one, share in ranked]
        return found[:MAX_DETECTIONS]

    def _rank(self, text: str, plain: Collection[str]) -> list[tuple[str, float]]:
        """Return candidates with their share of the probability, best first."""
        shares: dict[str, float] = {}
        with self._lock:  # its model is loaded once, and it keeps state while it computes
            for label, probability in self._loaded().rank(text):
                name = label if label in plain else _SAME.get(label, label)
                if name in plain:
                    shares[name] = shares.get(name, 0.0) + float(probability)
        total = sum(shares.values()) or 1.0
        ranked = sorted(shares.items(), key=lambda item: -item[1])
        return [(one, share / total) for one, share in ranked]

    def _loaded(self) -> Any:
        if self._model is None:
            self._model = copy.copy(language_model().result())
        return self._model


def best(found: list[Detected]) -> Detected:
    """Return the first of what was detected.

    Raises:
        LanguageError: Nothing was, or too little is certain of it.
    """
    first = found[0] if found else UNKNOWN
    if first.confidence >= REFUSED:
        return first
    told = ", ".join(f"{one.language} {one.confidence:.2f}" for one in found[:3])
    raise LanguageError(
        f"the language of the text cannot be told ({told or 'it has no letters of any language'}); "
        "give source_language_code",
        field="source_language_code",
        metadata={"detected": first.language, "confidence": f"{first.confidence:.2f}"},
    )


def _main_script(text: str) -> str:
    """Return the script that most of the letters are in; Japanese kana tell more than kanji."""
    letters = Counter(script for letter in text if (script := script_of(letter)))
    for kana in ("HIRAGANA", "KATAKANA"):
        if 4 * letters[kana] >= letters.total() > 0:
            return kana
    return letters.most_common(1)[0][0] if letters else ""


def _plain(language: str) -> str:
    """Return the language as py3langid names it."""
    first = language.partition("-")[0]
    return "nb" if first == "no" else first


def _variety(plain: str, candidates: Collection[str], text: str) -> str:
    """Return which of the candidates a language stands for: Simplified or Traditional, say."""
    varieties = sorted(one for one in candidates if _plain(one) == plain)
    if plain == "zh" and len(varieties) > 1:
        likely = max(_CHINESE, key=lambda one: _encodable(text, one[1]))[0]
        return likely if likely in varieties else varieties[0]
    exact = canonical(plain)
    return exact if exact in varieties else varieties[0]


def _encodable(text: str, encoding: str) -> int:
    """Count the characters that an encoding has: GB 2312 has simplified ones, Big5 the others."""
    return sum(1 for one in text if one.encode(encoding, "ignore"))
