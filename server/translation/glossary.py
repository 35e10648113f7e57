"""Terms with prescribed translations: found in a source, made constraints, looked for in an output.

A term is found as whole words where its language writes blanks, and anywhere where it does not. The
longest term wins where several begin at one place. The case of the source is the output's: a term
that begins a sentence, or is written in capitals, may be so in the translation.
"""

from __future__ import annotations

import threading
from collections import ChainMap, OrderedDict
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import regex  # type: ignore[import-untyped]

from hub.bases.tokenizer import BaseTokenizer
from hub.glossaries import MAX_READY, Allows, Glossaries, StoredGlossary, Term, normalized
from hub.languages import LanguagePair
from server.access.permits import EVERYTHING, Permit
from server.messages import Flag, FlagDetail, GlossaryChoice

MAX_FORCED: Final = 16
"""Terms that one sentence is made to hold; what is more of them is only looked for."""

Visible = Callable[[str, Permit], Allows]
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
    """Terms, ready to be found in many sentences.

    Terms are looked up by their text, at every place where one may begin and for every length that
    a term with that first character has: ten thousand of them are ready in milliseconds.
    """

    def __init__(self, terms: Iterable[Term], *, ignore_case: bool) -> None:
        """Take terms; of those with the same source the first counts."""
        self._ignore_case = ignore_case
        own: dict[str, tuple[str, ...]] = {}
        lengths: dict[str, set[int]] = {}
        for term in terms:
            key = self._folded(normalized(term.source))[0]
            own.setdefault(key, term.targets)
            lengths.setdefault(key[:1], set()).add(len(key))
        self._targets: MutableMapping[str, tuple[str, ...]] = own
        self._lengths: MutableMapping[str, list[int]] = {
            first: sorted(found, reverse=True) for first, found in lengths.items()
        }

    def before(self, other: Glossary) -> Glossary:
        """Return a glossary of these terms and another's; of the same source these count.

        Costs as much as these terms are, however many the other has.
        """
        assert self._ignore_case == other._ignore_case
        both = Glossary((), ignore_case=self._ignore_case)
        both._targets = ChainMap(self._targets, other._targets)
        merged = {
            first: sorted({*found, *other._lengths.get(first, ())}, reverse=True)
            for first, found in self._lengths.items()
        }
        both._lengths = ChainMap(merged, other._lengths)
        return both

    def find(self, sentence: str) -> list[Found]:
        """Return the terms of a sentence in their order, each as often as it is there."""
        text = normalized(sentence)
        folded, places = self._folded(text)
        found: list[Found] = []
        place = 0
        while place < len(folded):
            end = self._longest(folded, place)
            if end is None:
                place += 1
                continue
            written = text[places[place] : places[end]]
            targets = self._targets[folded[place:end]]
            found.append(Found(written, _in_case(targets, written, places[place])))
            place = end
        return found

    def _longest(self, folded: str, place: int) -> int | None:
        """Return where the longest term ends that begins at a place, None where none does."""
        for length in self._lengths.get(folded[place], ()):
            end = place + length
            there = end <= len(folded) and folded[place:end] in self._targets
            if there and _is_whole(folded, place, end):
                return end
        return None

    def _folded(self, text: str) -> tuple[str, Sequence[int]]:
        """Return a text as it is compared, and for each of its characters the one it comes from."""
        if not self._ignore_case:
            return text, range(len(text) + 1)
        folded = [one.casefold() for one in text]
        places = [index for index, one in enumerate(folded) for _ in one]
        return "".join(folded), [*places, len(text)]


class GlossaryShelf:
    """Stored glossaries, made ready once per version; used on several threads."""

    def __init__(self, store: Glossaries, visible: Visible | None = None) -> None:
        """Take where glossaries are stored.

        Args:
            store: Has them.
            visible: Tells which names there are for a tenant with a permit; all that the permit
                allows by default.
        """
        self._store = store
        self._visible = visible
        self._ready: OrderedDict[tuple[str, bool], Glossary] = OrderedDict()
        self._lock = threading.Lock()

    def of(
        self,
        choice: GlossaryChoice,
        pair: LanguagePair,
        tenant: str = "",
        permit: Permit = EVERYTHING,
    ) -> Glossary | None:
        """Return the terms of a request, its own before those of its stored glossary.

        Args:
            choice: What the request names.
            pair: That is translated.
            tenant: Who asks.
            permit: The tenant's.

        Raises:
            GlossaryNotFoundError: The request names a glossary that is not stored.
            InputError: It names one of another pair.
        """
        if choice.empty:
            return None
        own = Glossary(choice.terms, ignore_case=choice.ignore_case)
        if not choice.stored:
            return own
        allows = permit.allows if self._visible is None else self._visible(tenant, permit)
        stored = self._stored(self._store.for_pair(choice.stored, pair, allows), choice.ignore_case)
        return own.before(stored) if choice.terms else stored

    def _stored(self, version: StoredGlossary, ignore_case: bool) -> Glossary:
        key = (version.ref, ignore_case)
        with self._lock:
            ready = self._ready.get(key)
        if ready is None:
            ready = Glossary(version.terms, ignore_case=ignore_case)
        with self._lock:
            self._ready[key] = ready
            self._ready.move_to_end(key)
            while len(self._ready) > MAX_READY:
                self._ready.popitem(last=False)
        return ready


def missing(found: Sequence[Found], translation: str) -> tuple[FlagDetail, ...]:
    """Return the terms of which no form is in a translation, as one warning; none where all are."""
    if not found:
        return ()
    output = normalized(translation)
    lost = [
        f"{one.written} \u2192 {' | '.join(one.targets)}"
        for one in found
        if not any(_holds(output, normalized(form)) for form in one.targets)
    ]
    return (FlagDetail(Flag.GLOSSARY_MISS, tuple(dict.fromkeys(lost))),) if lost else ()


def _holds(text: str, form: str) -> bool:
    """Tell whether a text has a form as whole words."""
    place = text.find(form)
    while place >= 0:
        if _is_whole(text, place, place + len(form)):
            return True
        place = text.find(form, place + 1)
    return False


def _is_whole(text: str, start: int, end: int) -> bool:
    """Tell whether no word goes on in front of a part of a text or behind it."""
    before = start > 0 and _separates(text[start]) and _separates(text[start - 1])
    after = end < len(text) and _separates(text[end - 1]) and _separates(text[end])
    return not before and not after


@lru_cache(maxsize=4096)
def _separates(character: str) -> bool:
    """Tell whether a character is part of a word, in a script that separates words."""
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
        form = normalized(form)
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
