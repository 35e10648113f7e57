"""Which plural form of a translation means what the English singular and plural mean.

A catalogue says by `Plural-Forms` which form a number n takes; the order of the forms says
nothing. Forms are told apart by trying numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hub.errors import LanguageError
from hub.languages import canonical
from training.corpora.po_syntax import MAX_FORMS
from training.corpora.segments import Paired

_TRIED: Final = 1000
"""Numbers tried, from 0; the rules of all languages repeat within 100, and treat 1,000s alike."""

_COUNT: Final = re.compile(r"\bnplurals\s*=\s*(\w+)", re.ASCII | re.IGNORECASE)
_RULE: Final = re.compile(r"\bplural\s*=\s*([^;#]+)", re.ASCII | re.IGNORECASE)
_PLACEHOLDERS: Final = ("INTEGER", "EXPRESSION")

_ONE: Final = "n != 1"
_ONE_OR_NONE: Final = "n > 1"
_SLAVIC: Final = "n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2"
_EASTERN: Final = f"n%10==1 && n%100!=11 ? 0 : {_SLAVIC}"

# The number of forms, the rule and its languages. The rows are those that GNU gettext's msginit
# writes, and Arabic's that its manual gives (section "Plural forms"), with Catalan and Bosnian
# beside their neighbours. CLDR's order is another one in places, and has forms for millions.
_GETTEXT: Final = (
    (1, "0", "ja ko vi"),
    (2, _ONE, "bg ca da de el en eo es et fi fo he hu it nb nl nn no pt-PT sv tr"),
    (2, _ONE_OR_NONE, "fr pt"),
    (3, "n%10==1 && n%100!=11 ? 0 : n != 0 ? 1 : 2", "lv"),
    (3, "n==1 ? 0 : n==2 ? 1 : 2", "ga"),
    (3, "n==1 ? 0 : n==0 || (n%100>0 && n%100<20) ? 1 : 2", "ro"),
    (3, "n%10==1 && n%100!=11 ? 0 : n%10>=2 && (n%100<10 || n%100>=20) ? 1 : 2", "lt"),
    (3, _EASTERN, "be bs hr ru sr uk"),
    (3, "n==1 ? 0 : n>=2 && n<=4 ? 1 : 2", "cs sk"),
    (3, f"n==1 ? 0 : {_SLAVIC}", "pl"),
    (4, "n%100==1 ? 0 : n%100==2 ? 1 : n%100==3 || n%100==4 ? 2 : 3", "sl"),
    (6, "n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5", "ar"),
)
_UNORDERED: Final = 2
"""Forms of a language that no order of CLDR's can confuse: "one" is always before "other"."""


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
    """Read a `Plural-Forms` header; None where it gives no rule, as an unfilled template.

    Both values are searched for: tools and people write them in any order, with and without
    semicolons.

    Raises:
        ValueError: There is no count, there are too many forms, or the rule cannot be evaluated;
            the message says why.
    """
    count, rule = _COUNT.search(header), _RULE.search(header)
    if any(found and found[1].strip().upper() in _PLACEHOLDERS for found in (count, rule)):
        return None
    if rule is None:
        return None
    if count is None:
        raise ValueError(f"{header[:80]!r} is not 'nplurals=N; plural=EXPRESSION;'")
    if not count[1].isdigit() or not 1 <= int(count[1][:9]) <= MAX_FORMS:
        raise ValueError(f"nplurals={count[1][:20]} is not between 1 and {MAX_FORMS}")
    return plural_forms(int(count[1]), rule[1].strip().lower())


def plural_forms(count: int, expression: str) -> PluralForms:
    """Try an expression of C in `n`.

    Raises:
        ValueError: It cannot be evaluated, or names a form that there is not.
    """
    from gettext import c2py  # the standard library's: bounded in length and depth

    try:
        rule: Callable[[int], int] = c2py(expression)
        forms = [int(rule(n)) for n in range(_TRIED)]
    except (ArithmeticError, RecursionError, SyntaxError) as error:  # "n != !1" is C, not Python
        raise ValueError(f"plural={expression[:80]} cannot be evaluated: {error}") from None
    if not all(0 <= form < count for form in forms):
        raise ValueError(f"plural={expression[:80]} gives forms outside 0 to {count - 1}")
    usual = Counter(forms).most_common(1)[0][0]
    alone = forms.count(forms[1]) == 1
    return PluralForms(count, forms[1] if alone else None, usual)


def usual_plural_forms(language: str) -> PluralForms | None:
    """Return the forms that catalogues in a language usually have; None where that is not sure.

    They are GNU gettext's. For languages that it does not know, CLDR says them where there are one
    or two.
    """
    try:
        tag = canonical(language)
    except LanguageError:
        return None
    for wanted in (tag, tag.partition("-")[0]):
        for count, rule, languages in _GETTEXT:
            if wanted in languages.split():
                return plural_forms(count, rule)
    return _of_cldr(tag)


def _of_cldr(tag: str) -> PluralForms | None:
    from babel.messages.plurals import PLURALS

    known = PLURALS.get(tag.replace("-", "_")) or PLURALS.get(tag.partition("-")[0])
    if known is None or int(known[0]) > _UNORDERED:
        return None
    try:
        return plural_forms(int(known[0]), str(known[1]))
    except ValueError:
        return None


def fitting_plural_forms(
    forms: Mapping[int, str], stated: PluralForms | None, language: str
) -> PluralForms | None:
    """Return what the forms of a translation mean; None where that is not known.

    What a file states counts. Without it they are the language's usual ones, but only where there
    are just as many.
    """
    if stated is not None:
        return stated
    usual = usual_plural_forms(language)
    return usual if usual is not None and max(forms, default=-1) + 1 == usual.count else None


def pair_forms(
    singular: str, plural: str, forms: Mapping[int, str], meaning: PluralForms | None
) -> Paired:
    """Pair the two forms of a message with the forms of its translation, by what they mean.

    Args:
        singular: The message for one.
        plural: The message for more.
        forms: The translation's forms by number; "" where one is not translated.
        meaning: What the numbers mean; None where that is not known, so that all are left over.
    """
    used: dict[int, str] = {}
    if meaning is not None and max(forms, default=0) < meaning.count:
        if meaning.singular not in (None, meaning.plural):
            used[meaning.singular] = singular
        used[meaning.plural] = plural
    left = sum(1 for number, text in forms.items() if text and number not in used)
    return Paired([(told, forms.get(number, "")) for number, told in used.items()], left)
