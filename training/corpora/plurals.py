"""Which plural form of a translation means what the English singular and plural mean.

A catalogue says by `Plural-Forms` which form a number n takes; the order of the forms says
nothing. Forms are told apart by trying numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from training.corpora.po_syntax import MAX_FORMS

_TRIED: Final = 1000
"""Numbers tried, from 0; the rules of all languages repeat within 100, and treat 1,000s alike."""

_HEADER: Final = re.compile(r"\s*nplurals\s*=\s*(\w+)\s*;\s*plural\s*=\s*([^;]+);?\s*", re.ASCII)


@dataclass(frozen=True)
class PluralForms:
    """The forms that can be paired with a message's two ids.

    Attributes:
        count: Forms of each message.
        singular: The form that is said of 1 and of no other number; None where it is said of
            others too ("21 file"), and so says less than the English singular.
        plural: The form that most numbers take.
    """

    count: int
    singular: int | None
    plural: int


def read_plural_forms(header: str) -> PluralForms | None:
    """Read a `Plural-Forms` header; None for an unfilled template ("nplurals=INTEGER").

    Raises:
        ValueError: It is not of that form, has too many forms, or its expression cannot be
            evaluated; the message says why.
    """
    found = _HEADER.fullmatch(header)
    if found is None:
        raise ValueError(f"{header[:80]!r} is not 'nplurals=N; plural=EXPRESSION;'")
    if found[1].upper() == "INTEGER":
        return None
    if not found[1].isdigit() or not 1 <= int(found[1][:9]) <= MAX_FORMS:
        raise ValueError(f"nplurals={found[1][:20]} is not between 1 and {MAX_FORMS}")
    return plural_forms(int(found[1]), found[2])


def plural_forms(count: int, expression: str) -> PluralForms:
    """Try an expression of C in `n`.

    Raises:
        ValueError: It cannot be evaluated, or names a form that there is not.
    """
    from gettext import c2py  # the standard library's: bounded in length and depth

    rule: Callable[[int], int] = c2py(expression)
    try:
        forms = [int(rule(n)) for n in range(_TRIED)]
    except (ArithmeticError, RecursionError) as error:
        raise ValueError(f"plural={expression[:80]} cannot be evaluated: {error}") from None
    if not all(0 <= form < count for form in forms):
        raise ValueError(f"plural={expression[:80]} gives forms outside 0 to {count - 1}")
    usual = Counter(forms).most_common(1)[0][0]
    alone = forms.count(forms[1]) == 1
    return PluralForms(count, forms[1] if alone else None, usual)


def usual_plural_forms(language: str) -> PluralForms | None:
    """Return a language's forms as CLDR has them; None where Babel knows none."""
    from babel.messages.plurals import get_plural

    try:
        count, expression = get_plural(language.replace("-", "_"))[:2]
        return plural_forms(int(count), str(expression))
    except (LookupError, ValueError):
        return None
