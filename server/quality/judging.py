"""All that can be said about one translated sentence without a reference.

    tokens, text ──▶ Judgement (signals, flags, details)

Runs on the threads of the pool, some tens of microseconds for a sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from hub.languages import LanguagePair
from hub.manifest import OutputRecord
from server.messages import Candidate, Flag, FlagDetail, Signals
from server.quality.language import LanguageCheck
from server.quality.numbers import disagreeing
from server.quality.signals import judge, judge_unknown, measure

BAD: Final = (Flag.EMPTY, Flag.OFF_TARGET, Flag.REPETITION)
"""What a sentence is translated a second time for."""
LEAST_COPIED_WORDS: Final = 4
"""Shorter texts are often names, which stay as they are."""
_WORD: Final = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found out about one sentence.

    Attributes:
        details: What some of the flags are about.
    """

    signals: Signals
    flags: tuple[Flag, ...]
    details: tuple[FlagDetail, ...] = ()

    @property
    def bad(self) -> Flag | None:
        """Return why the sentence should be translated again, None where it should not."""
        return next((flag for flag in BAD if flag in self.flags), None)


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges sentences; thread-safe.

    Attributes:
        unk_id: The vocabulary's unknown token.
    """

    unk_id: int
    _language: LanguageCheck = field(default_factory=LanguageCheck)

    def judge(
        self,
        source: str,
        tokens: tuple[int, ...],
        candidate: Candidate,
        text: str,
        pair: LanguagePair,
        expected: OutputRecord | None,
    ) -> Judgement:
        """Judge a sentence.

        Args:
            source: What was translated.
            tokens: Its tokens, without those of the base's layout.
            candidate: The output.
            text: The output as text.
            pair: Of the translation.
            expected: What the adapter's outputs look like, None where that is not known.
        """
        signals = measure(tokens, candidate, expected)
        flags = [
            *judge(tokens, candidate, signals, expected),
            *judge_unknown(tokens, candidate, self.unk_id),
        ]
        if not text.strip():
            return Judgement(signals, (*flags, Flag.EMPTY))
        details = []
        if is_copy(source, text):
            flags.append(Flag.COPY)
        instead = self._language.found_instead(source, text, pair)
        if instead:
            details.append(FlagDetail(Flag.OFF_TARGET, (instead,)))
        numbers = disagreeing(source, text, (pair.source, pair.target))
        if numbers:
            details.append(FlagDetail(Flag.NUMBER_MISMATCH, numbers))
        flags += (detail.flag for detail in details)
        return Judgement(signals, tuple(flags), tuple(details))


def is_copy(source: str, text: str) -> bool:
    """Tell whether an output is its source, case and blanks aside, and no mere name."""
    if abs(len(source) - len(text)) > len(source) // 4 or len(text) < 2 * LEAST_COPIED_WORDS:
        return False
    if source.casefold().split() != text.casefold().split():
        return False
    return len(_WORD.findall(text)) >= LEAST_COPIED_WORDS
