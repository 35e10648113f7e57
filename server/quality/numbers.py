"""Do the numbers of a translation agree with those of its source?

Digits of any script count, and no words: "three" may become 3, and 1,000 a thousand. Languages
group and split numbers differently (1,234.5 is 1.234,5 and १२,३४,५६७ is 1,234,567), put dates in
another order, count the hours to 12 or to 24, the years from another beginning, and say 35.8
million as 3580 times ten thousand. So numbers are compared in two ways, as digits without their
separators and as runs of digits; what both sides have is crossed out, and what one of those reasons
explains. An alarm is raised where both ways leave something on both sides, or a number of three
digits or more that the translation lacks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Final

_DIGIT: Final = re.compile(r"\d")
_RUN: Final = re.compile(r"\d+")
_SPLIT: Final = re.compile("\\d+(?:[.,'’\u00a0\u202f\u2009\u066b\u066c \u00b7\u02d9]\\d+)*")
_PARTS: Final = re.compile(r"(\D)")
_BLANKS: Final = frozenset("\u00a0\u202f\u2009 ")
_DAY: Final = 24
_HALF_DAY: Final = 12
_BUDDHIST: Final = 543
_LEAST_SCALE: Final = 3
_LONG: Final = 3
_LAST: Final = 0x20000
"""Beyond it, Unicode has no digits that are written in a row."""


def disagreeing(source: str, translation: str, languages: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return numbers of a source that its translation does not have; () where they agree.

    Args:
        source: In any language.
        translation: Of it.
        languages: Of both, for their words for thousands, millions and so on.
    """
    if not _DIGIT.search(source):
        return ()
    table = _digits()
    ours, theirs = source.translate(table), translation.translate(table)
    our_runs, their_runs = _RUN.findall(ours), _RUN.findall(theirs)
    if our_runs == their_runs or sorted(our_runs) == sorted(their_runs):
        return ()
    found = _left(_plain(our_runs), _plain(their_runs))
    if found:
        found = _left(set(_numbers(ours)), set(_numbers(theirs)))
    if found and _scaled_by_words(ours, theirs, languages):
        return ()
    return found


@cache
def _digits() -> dict[int, str]:
    """Return what turns digits of any script into 0 to 9."""
    points = (point for point in range(128, _LAST) if chr(point).isdecimal())
    return {point: str(unicodedata.digit(chr(point))) for point in points}


def _plain(runs: list[str]) -> set[str]:
    return {run.lstrip("0") or "0" for run in runs}


def _numbers(text: str) -> Iterator[str]:
    """Yield the numbers of a text as their digits, grouped ones and fractions in one."""
    for found in _SPLIT.findall(text):
        parts = _PARTS.split(found)
        number, grouped = parts[0], len(parts[0]) <= _LONG
        for separator, digits in zip(parts[1::2], parts[2::2], strict=True):
            if separator in _BLANKS and not (grouped and len(digits) == _LONG):
                yield number.lstrip("0") or "0"
                number, grouped = digits, len(digits) <= _LONG
            else:
                number += digits
        yield number.lstrip("0") or "0"


def _left(ours: set[str], theirs: set[str]) -> tuple[str, ...]:
    """Return what of our numbers nothing on the other side explains, () where nothing is amiss.

    How often a number is said does not count: 4/12/2013 – 5/29/2013 is 12.04. – 29.05.2013.
    """
    missing, extra = ours - theirs, theirs - ours
    for one in sorted(missing):
        for other in sorted(extra):
            if _same(one, other):
                missing.remove(one)
                extra.remove(other)
                break
    if extra:
        return tuple(sorted(missing))
    return tuple(sorted(one for one in missing if len(one.rstrip("0")) >= _LONG))


def _same(one: str, other: str) -> bool:
    """Tell whether two numbers may mean the same."""
    short, long = sorted((one, other), key=len)
    if len(long) <= 2:  # hours
        first, second = int(one), int(other)
        return abs(first - second) == _HALF_DAY and max(first, second) <= _DAY
    if len(long) == 4 and len(short) <= 2 and int(long[-2:]) == int(short):  # years
        return True
    if len(long) == len(short) == 4 and abs(int(short) - int(long)) == _BUDDHIST:
        return True
    scale = len(long) - len(short)
    return scale >= _LEAST_SCALE and short.rstrip("0") == long.rstrip("0")


def _scaled_by_words(ours: str, theirs: str, languages: tuple[str, ...]) -> bool:
    """Tell whether words for powers of ten explain why numbers have different zeros."""
    words = _scale_words(languages)
    if not any(word in text for text in (ours, theirs) for word in words):
        return False
    return _significant(ours) == _significant(theirs)


def _significant(text: str) -> list[str]:
    return sorted(number.rstrip("0") for number in _numbers(text))


@cache
def _scale_words(languages: tuple[str, ...]) -> frozenset[str]:
    """Return the words of languages for thousands, millions and so on, by CLDR."""
    from babel import Locale, UnknownLocaleError

    found: set[str] = set()
    for language in languages:
        try:
            locale = Locale.parse(language, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
        for forms in locale.compact_decimal_formats.values():
            patterns = (str(one.pattern) for plurals in forms.values() for one in plurals.values())
            found.update(re.sub(r"[0'.\s]|\u200f", "", pattern) for pattern in patterns)
    return frozenset(found - {""})
