"""The filters that clean a corpus: small, pure, in one table, each with its reason and default.

A filter looks at one segment and says whether it goes. They are asked in the order of the table,
and a segment counts under the first that removes it. Two more act on the whole corpus (see
`training.corpora.collect`): `duplicate` and `overlap`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from hub.scripts import LetterTable, scripts_of

Removes = Callable[[str, str], bool]
"""Takes source and target, both trimmed; says whether the segment goes."""

DUPLICATE: Final = "duplicate"
OVERLAP: Final = "overlap"
OFF: Final = "off"
_SLACK: Final = 10
# Tabs, line ends and their kind are white space, not damage.
_CONTROL: Final = re.compile("[\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufffd\ufffe\uffff]")
_DIGIT: Final = re.compile(r"\d")


@dataclass(frozen=True)
class Filter:
    """One filter of the table.

    Attributes:
        name: What the report and `--clean` call it.
        reason: Why a segment like this teaches the wrong thing.
        default: Its setting: a number, or 1 for on; None for off.
        build: Makes the test out of the setting; None where it acts on the whole corpus. It
            returns None where it cannot judge the pair.
    """

    name: str
    reason: str
    default: float | None
    build: Callable[[float, LanguagePair], Removes | None] | None = None


def normal(text: str) -> str:
    """Return the form in which texts are compared: NFC, no case, single blanks."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _short(limit: float, pair: LanguagePair) -> Removes:
    return lambda source, target: len(source) < limit or len(target) < limit


def _long(limit: float, pair: LanguagePair) -> Removes:
    return lambda source, target: len(source) > limit or len(target) > limit


def _ratio(limit: float, pair: LanguagePair) -> Removes:
    def removes(source: str, target: str) -> bool:
        one, other = len(source) + _SLACK, len(target) + _SLACK
        return one > limit * other or other > limit * one

    return removes


def _control(limit: float, pair: LanguagePair) -> Removes:
    search = _CONTROL.search
    return lambda source, target: bool(search(source) or search(target))


def _identical(limit: float, pair: LanguagePair) -> Removes:
    return lambda source, target: (
        source == target or (len(source) == len(target) and normal(source) == normal(target))
    )


def _script(limit: float, pair: LanguagePair) -> Removes | None:
    scripts = scripts_of(pair.source), scripts_of(pair.target)
    if not all(scripts):
        return None
    one, other = LetterTable(scripts[0]), LetterTable(scripts[1])
    return lambda source, target: one.share(source) < limit or other.share(target) < limit


def _numerals(limit: float, pair: LanguagePair) -> Removes:
    def removes(source: str, target: str) -> bool:
        if not _DIGIT.search(source) or not _DIGIT.search(target):
            return False
        one, other = _digits(source), _digits(target)
        total = one.total() + other.total()
        return total > 0 and 2 * (one & other).total() < limit * total

    return removes


def _digits(text: str) -> Counter[int]:
    """Count the digits of any script, without zeros, which numbers in words leave out."""
    found = Counter(int(digit) for digit in _DIGIT.findall(text))
    del found[0]
    return found


def _language(limit: float, pair: LanguagePair) -> Removes | None:
    from training.corpora.language_id import identifier

    identify = identifier(pair)
    return identify and (
        lambda source, target: (
            not identify(source, pair.source, limit) or not identify(target, pair.target, limit)
        )
    )


FILTERS: Final = (
    Filter("control", "control or replacement characters: damaged text", 1, _control),
    Filter("min-length", "fewer characters on a side: nothing to learn from", 1, _short),
    Filter("max-length", "more characters on a side: no sentence, and slow", 1000, _long),
    Filter(
        "ratio",
        "one side longer than the other by more than this factor, 10 characters added to both: "
        "not a translation of each other",
        4,
        _ratio,
    ),
    Filter("identical", "both sides the same: teaches to copy", 1, _identical),
    Filter(
        "script",
        "less than this share of a side's letters is in its language's script: wrong language",
        0.3,
        _script,
    ),
    Filter(
        "numerals",
        "both sides have digits and less than this share of them agrees: misaligned",
        0.5,
        _numerals,
    ),
    Filter(
        "language",
        "a side is another language with at least this probability (needs adapterhub[langid])",
        None,
        _language,
    ),
    Filter(DUPLICATE, "the same segment came before: would count twice", 1),
    Filter(OVERLAP, "a side is in dev or test too: scores would be too good", 1),
)
_BY_NAME: Final[Mapping[str, Filter]] = {each.name: each for each in FILTERS}


@dataclass(frozen=True)
class Cleaning:
    """Which filters act, and how strictly.

    Attributes:
        settings: By name of the filter; a filter that is not in it is off.
    """

    settings: Mapping[str, float] = field(
        default_factory=lambda: {f.name: float(f.default) for f in FILTERS if f.default is not None}
    )

    @classmethod
    def none(cls) -> Cleaning:
        """Return the cleaning that removes nothing but segments with an empty side."""
        return cls({})

    @classmethod
    def parse(cls, words: Sequence[str]) -> Cleaning:
        """Change the defaults by words such as "max-length=500" and "numerals=off".

        Raises:
            CorpusError: A filter or its setting is unknown.
        """
        settings = dict(cls().settings)
        for word in words:
            name, _, value = word.partition("=")
            if name not in _BY_NAME:
                known = ", ".join(_BY_NAME)
                raise CorpusError(f"--clean {word}: no filter {name!r} among: {known}")
            settings.pop(name, None)
            if value != OFF:
                settings[name] = _setting(word, value)
        return cls(settings)

    def has(self, name: str) -> bool:
        """Return whether a filter is on."""
        return name in self.settings

    def build(self, pair: LanguagePair) -> tuple[tuple[str, Removes], ...]:
        """Return the filters that look at one segment, ready for a pair, in order."""
        made = (
            (each.name, each.build(self.settings[each.name], pair))
            for each in FILTERS
            if each.build and each.name in self.settings
        )
        return tuple((name, removes) for name, removes in made if removes is not None)


def _setting(word: str, value: str) -> float:
    if value in ("", "on"):
        default = _BY_NAME[word.partition("=")[0]].default
        return 0.9 if default is None else float(default)
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < 1e9:
        raise CorpusError(f"--clean {word}: {value!r} is neither on, off nor a number above 0")
    return number
