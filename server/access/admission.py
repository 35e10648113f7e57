"""Which requests are let in: limits on work, checked before anything is spent on it.

Pure: no clock, no tokenizer, no queue. A check of the whole request raises; a check of one text
returns its error, because one bad text must not cost the others their translation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hub.engine.requests import EarlyStopping
from hub.errors import MAX_CONTENTS, DecodingError, HubError, InputError, TextError
from hub.text import is_blank
from server.messages import Search, SearchChoice, TranslateCommand

PLAIN_TEXT: Final = "text/plain"
HTML: Final = "text/html"
MAX_KEPT: Final = 200
MAX_KEPT_CHARACTERS: Final = 1000
MAX_LENGTH_PENALTY: Final = 10.0
OUTPUT_TOKENS_PER_SOURCE_TOKEN: Final = 3
OUTPUT_TOKENS_EXTRA: Final = 48

# Control characters other than those that count as blanks, and surrogates.
_UNTRANSLATABLE: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_MAX_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class SearchDefaults:
    """The search of requests that do not say otherwise.

    Attributes:
        early_stopping: As in `hub.engine.requests.DecodingOptions`.
        max_output_tokens: Longest output by default; None for one that grows with the source.
    """

    beam_size: int = 1
    length_penalty: float = 1.0
    early_stopping: EarlyStopping = False
    max_output_tokens: int | None = None


GREEDY: Final = SearchDefaults()


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one request may ask for, and what it gets where it does not ask.

    Attributes:
        search: The search of a request that names none.
    """

    max_contents: int
    max_content_characters: int
    max_source_tokens: int
    max_output_tokens: int
    max_beam: int
    search: SearchDefaults = GREEDY


def check_command(command: TranslateCommand, limits: Limits) -> None:
    """Refuse a request that no part of can be done.

    Raises:
        InputError: Contents are missing or too many, the MIME type is not one that is served, or
            there are too many spans to keep.
        DecodingError: A search option is out of range.
    """
    check_contents(command.contents, command.mime_type, limits)
    _check_kept(command.keep)
    _check_search(command.search, limits)


def _check_kept(keep: Sequence[str]) -> None:
    """Refuse more spans than can be looked for in every text."""
    if len(keep) > MAX_KEPT:
        raise InputError(
            f"{len(keep)} spans in do_not_translate; at most {MAX_KEPT} are allowed, so name those "
            "that stand in the texts",
            field="do_not_translate",
        )
    for index, one in enumerate(keep):
        if len(one) > MAX_KEPT_CHARACTERS:
            raise InputError(
                f"a span of do_not_translate has {len(one)} characters; at most "
                f"{MAX_KEPT_CHARACTERS} are allowed",
                field=f"do_not_translate[{index}]",
            )


def check_contents(contents: Sequence[str], mime_type: str, limits: Limits) -> None:
    """Refuse texts that are none, too many or of another type.

    Raises:
        InputError: They are.
    """
    if not contents:
        raise InputError("contents is empty; send at least one text", field="contents")
    if len(contents) > limits.max_contents:
        raise InputError(
            f"{len(contents)} texts in one request; at most {limits.max_contents} are "
            "allowed, so split them over several requests",
            field="contents",
            metadata={MAX_CONTENTS: str(limits.max_contents)},
        )
    if mime_type not in ("", PLAIN_TEXT, HTML):
        raise InputError(
            f"MIME type {mime_type[:80]!r} is not supported; send {PLAIN_TEXT!r} or {HTML!r}",
            field="mime_type",
        )


def _check_search(choice: SearchChoice, limits: Limits) -> None:
    beam = limits.search.beam_size if choice.beam_size is None else choice.beam_size
    if not 1 <= beam <= limits.max_beam:
        raise DecodingError(
            f"beam_size {beam} is out of range; choose 1 (greedy) to {limits.max_beam}",
            field="decoding.beam_size",
        )
    if not 0 <= choice.num_alternatives < beam:
        raise DecodingError(
            f"num_alternatives {choice.num_alternatives} is out of range for beam_size {beam}; "
            "ask for fewer than the beam is wide",
            field="num_alternatives",
        )
    tokens = choice.max_output_tokens
    if tokens is not None and not 1 <= tokens <= limits.max_output_tokens:
        raise DecodingError(
            f"max_output_tokens {tokens} is out of range; choose 1 to {limits.max_output_tokens}",
            field="decoding.max_output_tokens",
        )
    penalty = 1.0 if choice.length_penalty is None else choice.length_penalty
    if not math.isfinite(penalty) or abs(penalty) > MAX_LENGTH_PENALTY:
        raise DecodingError(
            f"length_penalty {penalty} is out of range; choose {-MAX_LENGTH_PENALTY:g} to "
            f"{MAX_LENGTH_PENALTY:g}",
            field="decoding.length_penalty",
        )


def check_text(text: str, limits: Limits) -> HubError | None:
    """Return why a text cannot be translated, None when it can.

    Blank texts and control characters are refused rather than passed to the model, which would
    invent a translation for them.
    """
    if len(text) > limits.max_content_characters:
        return TextError(
            f"text has {len(text)} characters; at most {limits.max_content_characters} are "
            "allowed, so split it"
        )
    if is_blank(text):
        return blank_error(text)
    found = _UNTRANSLATABLE.search(text)
    if found is None:
        return None
    what = f"U+{ord(found[0]):04X} at position {found.start()}"
    if found[0] >= "\ud800":
        return TextError(f"text has a lone surrogate, {what}; send valid UTF-8")
    return TextError(f"text has control character {what}; remove it")


def blank_error(text: str) -> TextError:
    """Return the error of a text that holds nothing to translate; it names what cannot be seen."""
    unseen = list(dict.fromkeys(character for character in text if not character.isspace()))
    names = ", ".join(f"U+{ord(character):04X}" for character in unseen[:_MAX_NAMED])
    more = ", …" if len(unseen) > _MAX_NAMED else ""
    held = f" (it holds {names}{more} and no other characters)" if unseen else ""
    return TextError(f"text is empty or blank{held}; leave it out of the request")


def check_source(tokens: int, limits: Limits) -> HubError | None:
    """Return why a tokenized text cannot be translated, None when it can."""
    if tokens <= limits.max_source_tokens:
        return None
    return TextError(
        f"text has {tokens} tokens; at most {limits.max_source_tokens} are allowed, so split it "
        "into sentences"
    )


def resolve_search(choice: SearchChoice, source_tokens: int, limits: Limits) -> Search:
    """Fill in the defaults of a checked choice for a source of a given length.

    The default output limit grows with the source, so that a model caught in a loop costs little;
    an output cut there is flagged, never passed off as whole.
    """
    own = limits.search
    growing = OUTPUT_TOKENS_EXTRA + OUTPUT_TOKENS_PER_SOURCE_TOKEN * source_tokens
    default = min(growing, own.max_output_tokens or growing, limits.max_output_tokens)
    return Search(
        beam_size=choice.beam_size or own.beam_size,
        max_new_tokens=choice.max_output_tokens or default,
        length_penalty=(
            own.length_penalty if choice.length_penalty is None else choice.length_penalty
        ),
        num_hypotheses=1 + choice.num_alternatives,
        early_stopping=own.early_stopping,
    )
