"""Regular expressions of an adapter's config, with Python's meaning and a limit on their cost.

A config comes with its adapter and may be hostile. `re` decides what an expression is, since PEFT
uses it; `regex` runs it, since it has a time limit and lets other threads run meanwhile. The few
forms that the two read differently, and those that `regex` expands when it compiles them, are
refused.
"""

from __future__ import annotations

import math
import re
import time
from typing import Any, Final

import regex  # type: ignore[import-untyped]

from hub.errors import IncompatibleAdapterError

SECONDS: Final = 5.0
"""Time that one config's expressions may take together; real ones take milliseconds."""
MAX_LENGTH: Final = 2000
MAX_REPEATS: Final = 1000
MAX_EXPRESSIONS: Final = 10_000

_PLAIN: Final = re.compile(r"[\w.]+")
_BRACE: Final = re.compile(r"\{(\d*)(,?)(\d*)\}?")
_SET_IN_SET: Final = re.compile(r"\[[^\]]*?(?:\[|--|&&|~~|\|\|)")


class Expressions:
    """The expressions of one config; keeps what it compiled, and how long matching took."""

    def __init__(self) -> None:
        """Start with all the time there is."""
        self._compiled: dict[str, Any] = {}
        self._left = SECONDS

    def match(
        self, option: str, given: str, form: str, text: str, *, whole: bool = False
    ) -> re.Match[str] | None:
        """Match an expression at the beginning of a text.

        Args:
            option: The config's, for messages.
            given: The expression as the config has it.
            form: The expression that PEFT builds from it.
            text: A module path.
            whole: Whether the expression must cover the text.

        Raises:
            IncompatibleAdapterError: It is no expression, or too costly; names it.
        """
        compiled = self._compiled.get(form)
        if compiled is None:
            compiled = self._compiled[form] = self._compile(option, given, form)
        match = compiled.fullmatch if whole else compiled.match
        found: re.Match[str] | None
        if isinstance(compiled, re.Pattern):
            found = match(text)
            return found
        started = time.monotonic()
        try:
            found = match(text, timeout=max(self._left, 0.001))
        except TimeoutError:
            raise _refused(option, given, f"takes over {SECONDS:g} s to match") from None
        self._left -= time.monotonic() - started
        return found

    def _compile(self, option: str, given: str, form: str) -> Any:
        if len(self._compiled) >= MAX_EXPRESSIONS:
            raise _refused(option, given, f"is one of over {MAX_EXPRESSIONS:,}")
        if len(given) > MAX_LENGTH:
            raise _refused(option, given, f"has over {MAX_LENGTH:,} characters")
        if _PLAIN.fullmatch(given):  # no repeats and no choices: the cost is that of the text
            return re.compile(form)
        _check_cost(option, given)
        try:
            re.compile(form)
            return regex.compile(form)
        except (re.error, regex.error, RecursionError, OverflowError) as error:
            raise _refused(option, given, f"is no regular expression ({error})") from None


def _check_cost(option: str, given: str) -> None:
    """Refuse what `regex` expands, and what it reads in another way than `re`."""
    if _SET_IN_SET.search(given):
        raise _refused(option, given, "has a set within a set")
    counts = []
    for brace in _BRACE.finditer(given):
        if not brace[0].endswith("}") or not (brace[1] or brace[3]):
            raise _refused(option, given, "has a brace that is no count")
        counts += [max(1, int(number)) for number in (brace[1], brace[3]) if number]
    if math.prod(counts) > MAX_REPEATS:
        raise _refused(option, given, f"counts over {MAX_REPEATS:,} repeats")


def _refused(option: str, given: str, why: str) -> IncompatibleAdapterError:
    return IncompatibleAdapterError(
        f"{option} {given!r:.80} {why}; name the modules in {option} by their paths", field=option
    )
