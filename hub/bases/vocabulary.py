"""The tokens of a target language: which of a base's vocabulary a translation may need.

A base's vocabulary serves all of its languages; a translation into one of them needs a part of it.
Two lists are made here:

- of a language: every piece whose letters are of the language's own scripts or of none, the
  frequent pieces in ASCII letters (names, units and codes stay as they are in any script), all byte
  pieces, and the end, start, padding and unknown tokens. Languages of one script have one list;
- of an adapter: of these the frequent ones, and every piece of the texts that it was trained to
  write. It lies in the adapter's folder as vocabulary.json.

Vocabularies number their pieces by frequency, so the frequent ones are the first ones.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from hub.bases.tokenizer import BaseTokenizer
from hub.engine.shortlists import Shortlist
from hub.languages import canonical
from hub.scripts import is_script, scripts_of

FREQUENT: Final = 24_576
"""Pieces of a language's scripts in an adapter's list, beside those of its texts."""

ASCII_PIECES: Final = 8_192
"""Pieces in ASCII letters in the list of a language that is not written in them."""

MOST_LISTED: Final = 98_304
"""Tokens of an adapter's list at most: its file stays below a megabyte."""


def language_tokens(tokenizer: BaseTokenizer, language: str) -> tuple[int, ...] | None:
    """Return the tokens of a target language, ascending; None where its scripts are not known."""
    scripts = scripts_of(language)
    if not scripts:
        return None
    own, ascii_only = _pieces_of(tokenizer, scripts)
    always = _always(tokenizer)
    return tuple(sorted({*always, *own, *islice(ascii_only, ASCII_PIECES)}))


def adapter_tokens(
    tokenizer: BaseTokenizer, language: str, targets: Iterable[Sequence[int]]
) -> tuple[int, ...] | None:
    """Return the tokens of an adapter that was trained to write `targets`, ascending.

    None where no list would do: the scripts are not known, or the texts have too many pieces.
    """
    scripts = scripts_of(language)
    if not scripts:
        return None
    own, ascii_only = _pieces_of(tokenizer, scripts)
    found = {*_always(tokenizer), *islice(own, FREQUENT), *islice(ascii_only, ASCII_PIECES)}
    for target in targets:
        found.update(target)
    return tuple(sorted(found)) if len(found) <= MOST_LISTED else None


def _always(tokenizer: BaseTokenizer) -> set[int]:
    """Return what every list holds."""
    special = {
        tokenizer.eos_id, tokenizer.unk_id, tokenizer.pad_id, tokenizer.decoder_start_id
    }  # fmt: skip
    return {*special, *tokenizer.byte_ids}


def _pieces_of(
    tokenizer: BaseTokenizer, scripts: frozenset[str]
) -> tuple[Sequence[int], Sequence[int]]:
    """Return the pieces of scripts or of none, and others in ASCII letters, by frequency."""
    own, ascii_only = [], []
    for token, piece in sorted(tokenizer.tokens.items()):
        letters = [one for one in piece if is_letter(one)]
        if all(is_script(one, scripts) for one in letters):
            own.append(token)
        elif all(one.isascii() for one in letters):
            ascii_only.append(token)
    return own, ascii_only


def is_letter(character: str) -> bool:
    """Tell whether a character is a letter or a mark on one, and so may have a script."""
    return unicodedata.category(character)[0] in "LM"


class LanguageLists:
    """The tokens of a base's languages, each found once; safe on any thread."""

    def __init__(self, tokenizer: BaseTokenizer) -> None:
        """Take the base's tokenizer."""
        self._tokenizer = tokenizer
        self._found: dict[frozenset[str], Shortlist | None] = {}

    def report(self) -> list[str]:
        """Return what to say of every list: its languages, and how many tokens it has."""
        members: dict[Shortlist | None, list[str]] = {}
        for language in sorted(self._tokenizer.languages):
            members.setdefault(self.of(language), []).append(language)
        total = len(self._tokenizer.tokens)
        return [
            f"{', '.join(languages)}: "
            + (f"all {total:,} tokens, for want of a known script" if shortlist is None
               else f"{len(shortlist):,} of {total:,} tokens")
            for shortlist, languages in members.items()
        ]  # fmt: skip

    def of(self, language: str) -> Shortlist | None:
        """Return the list of a language, None where its scripts are not known."""
        scripts = scripts_of(canonical(language))
        if scripts not in self._found:
            tokens = language_tokens(self._tokenizer, canonical(language))
            self._found[scripts] = None if tokens is None else Shortlist(tokens)
        return self._found[scripts]
