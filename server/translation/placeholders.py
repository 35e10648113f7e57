"""Placeholders in text: found, and replaced by stand-ins that a model copies.

What a program will fill in later must come out of a translation as it went in. Models copy
numbers far more reliably than brackets and percent signs (tests/bench/mask_forms.py; figures in
docs/markup.md), so each placeholder becomes a number of two digits that the text does not have.

Kinds: `{name}`, `{0}`, `{{x}}`, `${x}`, `#{x}`, `%{x}`, `{% x %}`; ICU arguments, nested ones as a
whole; `%s`, `%1$d`, `%(name)s`, `%%`, `%1`, `%NAME%`; URLs and e-mail addresses; and whatever the
caller wants to keep. Not `$1`: it is an amount of money as often as a placeholder.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import regex  # type: ignore[import-untyped]

_UNSPACED: Final = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Bopomofo}"
    r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
)
"""Scripts whose words have no blank between them, or particles without one."""

# Each starts at a character that it cannot go on over, or is anchored by what stands before it:
# so the time for all of a text is linear. Possessive repeats never give back.
_URL: Final = (
    r"(?<![\p{L}\p{N}])(?:(?:https?|ftps?|sftp|ssh|git|file|ws|wss)://|mailto:|tel:|www\.)"
    rf"[^\s<>\"`|\\^\p{{C}}{_UNSPACED}“”„«»‘’、。，；：！？（）「」]++"
)
_MAIL: Final = (
    r"(?<![\w.%+\-])[A-Za-z0-9][A-Za-z0-9._%+\-]*+@[A-Za-z0-9\-]++(?:\.[A-Za-z0-9\-]++)++"
)
_BRACES: Final = (
    r"\{\{\{[^{}\n]++\}\}\}|\{\{[^{}\n]*+\}\}|\{%[^{}\n]*+\}|[$#%]\{[^{}\n]*+\}"
    r"|\{[ ]*+(?:[\w$@#/][\w$.\-\[\]'\"@]*+)?+[ ]*+(?:![rsa])?+(?::[^{}\s]*+)?+[ ]*+\}"
    r"|\{\s*+\w++\s*+,\s*+(?:number|date|time|ordinal|duration|spellout)\s*+(?:,[^{}]*+)?+\}"
)
_ICU: Final = r"(?P<icu>\{\s*+\w++\s*+,\s*+(?:plural|select|selectordinal|choice)\s*+,)"
_FLAGS: Final = r"(?:\d{1,2}\$)?+[\-+#0']*+(?:\*|\d{1,4})?+(?:\.(?:\*|\d{0,4}))?+"
_PERCENT: Final = (
    rf"%%|%\(\w++\){_FLAGS}[A-Za-z]|%<\w++>{_FLAGS}[A-Za-z]?|%[A-Z_][A-Z0-9_]*+%"
    rf"|(?<!\d)%{_FLAGS}(?:hh|h|ll|l|L|q|j|z|t)?+[@dDiufFsSxXoceEgGp]"
    rf"|%{_FLAGS}(?:hh|h|ll|l|L|q|j|z|t)?+[@dDiufFsSxXoceEgGp](?![\p{{L}}\p{{M}}])"
    r"|(?<![\d%])%(?:L?\d{1,2}(?![\d$])|n\b)"
)
_TRAILING: Final = ".,;:!?'\"*_"
_PAIRS: Final = ("()", "[]", "{}")
_PATTERN: Final = regex.compile(f"{_URL}|{_MAIL}|{_ICU}|{_BRACES}|{_PERCENT}")
_SPACED_EDGE: Final = regex.compile(rf"[\p{{L}}\p{{N}}\p{{M}}_--[{_UNSPACED}]]", regex.V1)
_DIGITS: Final = re.compile(r"\d+")
_LONGEST_NUMBER: Final = 12


@dataclass(frozen=True, slots=True)
class Placeholder:
    """`text[start:end]` stays as it is.

    Attributes:
        raw: What is written for it.
        label: What it is called in a warning.
    """

    start: int
    end: int
    raw: str
    label: str


@dataclass(frozen=True, slots=True)
class Mask:
    """The number that stands for a placeholder.

    Attributes:
        number: Unlike any other in the text.
        start: Where the number begins in the masked text.
        end: Where it ends.
        before: A blank was put in front, that no digit may touch it.
        after: A blank was put behind.
    """

    number: int
    start: int
    end: int
    placeholder: Placeholder
    before: bool = False
    after: bool = False


@dataclass(frozen=True, slots=True)
class Masked:
    """A text for a model."""

    text: str
    masks: tuple[Mask, ...]

    @property
    def outside(self) -> str:
        """Return the text without the numbers."""
        ends = [0, *(one.end for one in self.masks)]
        starts = [*(one.start for one in self.masks), len(self.text)]
        return "".join(self.text[end:start] for end, start in zip(ends, starts, strict=True))

    def part(self, start: int, end: int) -> Masked:
        """Return the masked text from `start` to `end`, neither of which lies in a number."""
        inside = (one for one in self.masks if start <= one.start and one.end <= end)
        return Masked(
            self.text[start:end],
            tuple(replace(one, start=one.start - start, end=one.end - start) for one in inside),
        )

    def original(self, place: int) -> int:
        """Return where a place of the masked text, outside of numbers, is in the text itself."""
        for one in reversed(self.masks):
            if one.end <= place:
                return one.placeholder.end + max(0, place - one.end - one.after)
        return place


@lru_cache(maxsize=32)
def finder_of(keep: tuple[str, ...]) -> Finder:
    """Return what finds placeholders and these spans; made once for all texts of a request."""
    return Finder(keep)


class Finder:
    """Finds placeholders; has no state."""

    def __init__(self, keep: Sequence[str] = ()) -> None:
        """Prepare for the caller's own spans, found as whole words and exactly as written."""
        wanted = sorted({one for one in keep if one.strip()}, key=len, reverse=True)
        self._keep: Any = regex.compile(r"\L<keep>", keep=wanted) if wanted else None
        self._starting: dict[str, list[str]] = {}
        for one in wanted:
            self._starting.setdefault(one[0], []).append(one)

    def find(self, text: str) -> list[Placeholder]:
        """Return the placeholders of a text, in order.

        Of overlapping ones it is the one that starts first, of those the longest.
        """
        found = [*self._syntax(text), *self._kept(text)]
        found.sort(key=lambda span: (span[0], -span[1]))
        spans: list[tuple[int, int]] = []
        for start, end in found:
            if not spans or start >= spans[-1][1]:
                spans.append((start, end))
        return [Placeholder(a, b, text[a:b], text[a:b]) for a, b in spans]

    def finds(self, raw: str) -> bool:
        """Tell whether a text is one placeholder."""
        return [one.raw for one in self.find(raw)] == [raw]

    def knows(self, raw: str) -> bool:
        """Tell whether a text is a placeholder by its form, not only a span to keep."""
        return next(self._syntax(raw), None) == (0, len(raw))

    def _syntax(self, text: str) -> Iterator[tuple[int, int]]:
        if not any(one in text for one in "{%@:") and "www." not in text:
            return
        closing: Mapping[int, int] | None = None
        place = 0
        while (match := _PATTERN.search(text, place)) is not None:
            start, end = match.span()
            if match["icu"] is not None:
                closing = _closing(text) if closing is None else closing
                end = closing.get(start, start)
            elif text[start] not in "{%$#":
                end = start + len(_without_stops(match[0]))
            if end > start:
                yield start, end
            place = max(end, start + 1)

    def _kept(self, text: str) -> Iterator[tuple[int, int]]:
        if self._keep is None:
            return
        place = 0
        while (match := self._keep.search(text, place)) is not None:
            start = match.start()
            end = next(
                (
                    start + len(one)
                    for one in self._starting[match[0][0]]
                    if text.startswith(one, start) and _is_whole(text, start, start + len(one))
                ),
                start,
            )
            if end > start:
                yield start, end
            place = max(end, start + 1)


def _is_whole(text: str, start: int, end: int) -> bool:
    """Tell whether a span neither begins nor ends inside a word."""
    return not (_touch(text, start) or _touch(text, end))


def _touch(text: str, place: int) -> bool:
    around = text[place - 1 : place + 1] if place else ""
    return len(around) == 2 and all(_SPACED_EDGE.match(one) for one in around)


def _without_stops(found: str) -> str:
    """Return a URL without the punctuation of the sentence it stands in."""
    more = {close: found.count(close) - found.count(begin) for begin, close in _PAIRS}
    end = len(found)
    while end:
        last = found[end - 1]
        if more.get(last, 0) > 0:
            more[last] -= 1
        elif last not in _TRAILING:
            break
        end -= 1
    return found[:end]


def _closing(text: str) -> dict[int, int]:
    """Return for each opening brace the place behind the one that closes it."""
    found: dict[int, int] = {}
    opened: list[int] = []
    for match in re.finditer(r"[{}]", text):
        if match[0] == "{":
            opened.append(match.start())
        elif opened:
            found[opened.pop()] = match.end()
    return found


def mask(text: str, placeholders: Sequence[Placeholder]) -> Masked:
    """Return a text with a number for each placeholder, given in order."""
    if not placeholders:
        return Masked(text, ())
    rest = _outside(text, placeholders)
    numbers = _unused(number for part in rest for _, _, number in numbers_in(part))
    pieces: list[str] = []
    masks: list[Mask] = []
    length = 0
    for index, one in enumerate(placeholders):
        gap, following = rest[index], rest[index + 1]
        glued = gap[-1:].isdecimal() or (not gap and index > 0)
        before = glued and not (masks and masks[-1].after and not gap)
        after = following[:1].isdecimal() or (not following and index + 1 < len(placeholders))
        number = next(numbers)
        digits = f"{' ' * before}{number}{' ' * after}"
        start = length + len(gap) + before
        masks.append(Mask(number, start, start + len(str(number)), one, before, after))
        pieces += [gap, digits]
        length += len(gap) + len(digits)
    return Masked("".join((*pieces, rest[-1])), tuple(masks))


def _outside(text: str, placeholders: Sequence[Placeholder]) -> list[str]:
    ends = [0, *(one.end for one in placeholders)]
    starts = [*(one.start for one in placeholders), len(text)]
    return [text[end:start] for end, start in zip(ends, starts, strict=True)]


def numbers_in(text: str) -> list[tuple[int, int, int]]:
    """Return start, end and value of every run of digits, of any script."""
    return [
        (found.start(), found.end(), int(found[0]))
        for found in _DIGITS.finditer(text)
        if found.end() - found.start() <= _LONGEST_NUMBER
    ]


def _unused(used: Iterable[int]) -> Iterator[int]:
    """Yield numbers that a text does not have, no multiples of ten.

    The first are those that may be a day or a minute, which are copied best, but no hour of the
    afternoon, which a model makes of other numbers.
    """
    taken = set(used)
    larger = ((10**digits, 9 * 10**digits) for digits in itertools.count(2))
    for least, count in itertools.chain(((24, 16), (40, 60)), larger):
        for index in range(count):
            number = least + (3 + index * 37) % count
            if number % 10 and number not in taken:
                yield number
