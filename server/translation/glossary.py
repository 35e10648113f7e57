"""Terms with prescribed translations: found in a source, made constraints, looked for in an output.

A term is found as whole words where its language writes blanks, and anywhere where it does not. The
longest term wins where several begin at one place. The case of the source is the output's: a term
that begins a sentence, or is written in capitals, may be so in the translation.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import regex  # type: ignore[import-untyped]

from hub.bases.tokenizer import BaseTokenizer
from hub.glossaries import Term
from server.messages import Flag, FlagDetail, GlossaryChoice

MAX_FORCED: Final = 16
"""Terms that one sentence is made to hold; what is more of them is only looked for."""

Forms = tuple[tuple[int, ...], ...]
_MULTIBYTE: Final = 0xC2
"""First byte of the characters that take several."""
_STOP: Final = "\u3002"
_WORD_PIECE: Final = regex.compile(r"[\p{L}\p{M}\p{N}]")
# Scripts that separate no words.
_UNSPACED: Final = (
    r"\p{scx=Hani}\p{scx=Hira}\p{scx=Kana}\p{scx=Thai}\p{scx=Laoo}\p{scx=Khmr}\p{scx=Mymr}"
    r"\p{scx=Tibt}"
)
_INSIDE_A_WORD: Final = rf"[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]"
_SEPARATING: Final = regex.compile(_INSIDE_A_WORD, regex.V1)


@dataclass(frozen=True, slots=True)
class Found:
    """A term that a sentence has.

    Attributes:
        written: As the sentence writes it.
        targets: Forms of which one must be in the translation.
    """

    written: str
    targets: tuple[str, ...]


class Glossary:
    """Terms, ready to be found in many sentences."""

    def __init__(self, terms: Iterable[Term], *, ignore_case: bool) -> None:
        """Take terms; of those with the same source the first counts."""
        self._ignore_case = ignore_case
        self._targets: dict[str, tuple[str, ...]] = {}
        for term in terms:
            self._targets.setdefault(self._key(_plain(term.source)), term.targets)
        self._pattern = self._compile()

    def find(self, sentence: str) -> list[Found]:
        """Return the terms of a sentence in their order, each as often as it is there."""
        if self._pattern is None:
            return []
        return [
            Found(found[0], _in_case(self._targets[self._key(found[0])], found[0], found.start()))
            for found in self._pattern.finditer(_plain(sentence))
        ]

    def _key(self, text: str) -> str:
        return text.casefold() if self._ignore_case else text

    def _compile(self) -> Any:
        """Return one expression for all terms, the longest first; None where there is none."""
        if not self._targets:
            return None
        longest = sorted(self._targets, key=lambda source: (-len(source), source))
        expression = "|".join(_whole_word(source) for source in longest)
        flags = regex.IGNORECASE | regex.FULLCASE if self._ignore_case else 0
        return regex.compile(expression, flags | regex.V1)


def glossary_of(choice: GlossaryChoice, stored: Sequence[Term] = ()) -> Glossary:
    """Return the terms of a request, its own before those of a stored glossary."""
    return Glossary((*choice.terms, *stored), ignore_case=choice.ignore_case)


def missing(found: Sequence[Found], translation: str) -> tuple[FlagDetail, ...]:
    """Return the terms of which no form is in a translation, as one warning; none where all are."""
    output = _plain(translation)
    lost = [
        f"{one.written} \u2192 {' | '.join(one.targets)}"
        for one in found
        if not any(
            regex.search(_whole_word(_plain(form)), output, regex.V1) for form in one.targets
        )
    ]
    return (FlagDetail(Flag.GLOSSARY_MISS, tuple(dict.fromkeys(lost))),) if lost else ()


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


@lru_cache(maxsize=4096)
def _whole_word(text: str) -> str:
    """Return an expression for a text as whole words, where its script separates words."""
    before = f"(?<!{_INSIDE_A_WORD})" if _separates(text[:1]) else ""
    after = f"(?!{_INSIDE_A_WORD})" if _separates(text[-1:]) else ""
    return f"{before}{regex.escape(text, special_only=True)}{after}"


def _separates(character: str) -> bool:
    return _SEPARATING.match(character) is not None


def _in_case(targets: tuple[str, ...], written: str, start: int) -> tuple[str, ...]:
    """Add the forms that the case of the source asks for."""
    more: list[str] = []
    if len(written) > 1 and written.isupper():
        more = [form.upper() for form in targets]
    elif start == 0 or written[:1].isupper():
        more = [form[:1].upper() + form[1:] for form in targets]
    return tuple(dict.fromkeys((*targets, *more)))


class TermEncoder:
    """Terms as tokens of one base; used on several threads."""

    def __init__(self, tokenizer: BaseTokenizer) -> None:
        """Take the base's tokenizer."""
        self._tokenizer = tokenizer
        self._joiners = self._continuing()

    def constraints(self, found: Sequence[Found], language: str) -> tuple[Forms, ...]:
        """Return what the search is made to put into a translation, each term once.

        Terms that the vocabulary cannot spell, and those after the first `MAX_FORCED`, are left
        out.

        Args:
            found: The terms of the source.
            language: The target language.
        """
        distinct = list(dict.fromkeys(one.targets for one in found))[:MAX_FORCED]
        terms = (
            tuple(dict.fromkeys(ids for form in targets for ids in self._pieces(form, language)))
            for targets in distinct
        )
        return tuple(forms for forms in terms if forms)

    def joiners(self, found: Sequence[Found]) -> frozenset[int]:
        """Return the tokens that may not come right behind these terms.

        They are those that would go on with the word; none where a term is written in a script
        that separates no words.
        """
        ends = {form[-1:] for one in found for form in one.targets}
        return self._joiners if all(map(_separates, ends)) else frozenset()

    def _continuing(self) -> frozenset[int]:
        """Return the pieces that begin with a letter or a digit, and bytes that may begin one."""
        bytes_ = self._tokenizer.byte_ids
        return frozenset(
            token
            for token, piece in self._tokenizer.tokens.items()
            if (bytes_[token] >= _MULTIBYTE if token in bytes_ else _WORD_PIECE.match(piece[:1]))
        )

    def _pieces(self, form: str, language: str) -> list[tuple[int, ...]]:
        """Return a form's tokens: behind a blank, and where no blanks are written also without."""
        form = _plain(form)
        found = [self._encoded(form, language)]
        if not _separates(form[:1]):
            around = self._encoded(_STOP + form, language)
            alone = self._encoded(_STOP, language)
            if around[: len(alone)] == alone:
                found.insert(0, around[len(alone) :])
        unk = self._tokenizer.unk_id
        return [one for one in found if one and unk not in one]

    def _encoded(self, text: str, language: str) -> tuple[int, ...]:
        """Return the tokens of a text without those of the base's layout."""
        ids = self._tokenizer.encode_target(text, language)
        empty = self._tokenizer.encode_target("", language)
        behind = 1 if empty and ids[-1:] == empty[-1:] else 0
        front = len(empty) - behind
        return tuple(ids[front : len(ids) - behind])
