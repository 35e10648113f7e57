from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from hub.errors import DecodingError, HubError, InputError, TextError
from server.access.admission import (
    MAX_KEPT,
    MAX_KEPT_CHARACTERS,
    Limits,
    check_command,
    check_source,
    check_text,
    resolve_search,
)
from server.messages import SearchChoice, TranslateCommand

LIMITS = Limits(
    max_contents=3,
    max_content_characters=20,
    max_source_tokens=10,
    max_output_tokens=50,
    max_beam=8,
)


def command(*contents: str, mime_type: str = "", **choice: float) -> TranslateCommand:
    search = SearchChoice(**choice)  # type: ignore[arg-type]
    return TranslateCommand(contents, "en", "ko", search=search, mime_type=mime_type)


def refusal(made: TranslateCommand) -> HubError:
    with pytest.raises(HubError) as caught:
        check_command(made, LIMITS)
    return caught.value


@pytest.mark.parametrize(
    "made",
    [
        command("a"),
        command("a", "b", "c"),
        command("a", mime_type="text/plain"),
        command("a", beam_size=1),
        command("a", beam_size=8, num_alternatives=7),
        command("a", max_output_tokens=50),
        command("a", length_penalty=-10.0),
        command("a", length_penalty=0.0),
    ],
)
def test_what_is_within_the_limits_passes(made: TranslateCommand) -> None:
    check_command(made, LIMITS)


@pytest.mark.parametrize(
    ("made", "kind", "field", "told"),
    [
        (command(), InputError, "contents", "at least one"),
        (command(*"abcd"), InputError, "contents", "4 texts in one request; at most 3"),
        (command("a", mime_type="application/xml"), InputError, "mime_type", "'application/xml'"),
        (command("a", beam_size=0), DecodingError, "decoding.beam_size", "beam_size 0 .* 8"),
        (command("a", beam_size=1000), DecodingError, "decoding.beam_size", "1000 .* 8"),
        (command("a", beam_size=-1), DecodingError, "decoding.beam_size", "-1"),
        (command("a", num_alternatives=1), DecodingError, "num_alternatives", "beam_size 1"),
        (command("a", num_alternatives=-1), DecodingError, "num_alternatives", "-1"),
        (command("a", max_output_tokens=0), DecodingError, "decoding.max_output_tokens", "50"),
        (command("a", max_output_tokens=51), DecodingError, "decoding.max_output_tokens", "51"),
        (command("a", length_penalty=math.nan), DecodingError, "decoding.length_penalty", "nan"),
        (command("a", length_penalty=math.inf), DecodingError, "decoding.length_penalty", "inf"),
        (command("a", length_penalty=10.5), DecodingError, "decoding.length_penalty", "10.5"),
    ],
)
def test_refusals_name_field_value_and_limit(
    made: TranslateCommand, kind: type[HubError], field: str, told: str
) -> None:
    error = refusal(made)
    assert type(error) is kind
    assert error.field == field
    assert re.search(told, error.message)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        " a ",
        "a\tb\r\n",
        "a\x0bb\x0cc\x85d",
        "a\u200b",
        "❤\ufe0f",
        "\u0600",
        "日本語",
        "\u202eabc",
        "x" * 20,
        "\ufffe",
    ],
)
def test_texts_that_can_be_translated(text: str) -> None:
    assert check_text(text, LIMITS) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty or blank"),
        (" \t\n\u3000\u00a0", "empty or blank; leave"),
        ("\u200b", r"blank \(it holds U\+200B and no other characters\); leave it out"),
        ("\ufeff \u00ad\n\u2060", r"blank \(it holds U\+FEFF, U\+00AD, U\+2060 and no other"),
        ("\u200e\u200f\u202a\u202b\u2069", r"U\+200E, U\+200F, U\+202A, U\+202B, … and no other"),
        ("\u200d", "empty or blank"),
        ("\ufe0f", "empty or blank"),
        ("\x00", "empty or blank"),
        ("x" * 21, "21 characters; at most 20"),
        ("ab\x00c", r"U\+0000 at position 2"),
        ("\x1b[31m", r"U\+001B at position 0"),
        ("a\x9f", r"U\+009F at position 1"),
        ("a\ud800", r"lone surrogate, U\+D800 at position 1"),
    ],
)
def test_texts_that_cannot(text: str, told: str) -> None:
    error = check_text(text, LIMITS)
    assert isinstance(error, TextError)
    with pytest.raises(TextError, match=told):
        raise error


def test_source_limit_is_inclusive() -> None:
    assert check_source(10, LIMITS) is None
    error = check_source(11, LIMITS)
    assert error is not None
    assert "11 tokens; at most 10" in error.message


def test_defaults_of_the_search() -> None:
    search = resolve_search(SearchChoice(), source_tokens=0, limits=LIMITS)
    assert (search.beam_size, search.length_penalty, search.num_hypotheses) == (1, 1.0, 1)
    assert search.max_new_tokens == 48
    assert resolve_search(SearchChoice(), source_tokens=9, limits=LIMITS).max_new_tokens == 50


def test_a_chosen_search_is_kept() -> None:
    choice = SearchChoice(4, 7, 0.0, 2)
    search = resolve_search(choice, source_tokens=9, limits=LIMITS)
    assert search.beam_size == 4
    assert search.max_new_tokens == 7
    assert search.length_penalty == 0.0
    assert search.num_hypotheses == 3


def test_spans_to_keep_are_few_and_short() -> None:
    """Each is looked for in every text of a call."""
    kept = replace(command("a"), keep=("x" * MAX_KEPT_CHARACTERS,) * MAX_KEPT)
    check_command(kept, LIMITS)
    for keep, field, told in (
        (("a",) * (MAX_KEPT + 1), "do_not_translate", "201 spans in do_not_translate; at most 200"),
        (("a", "x" * 1001), "do_not_translate[1]", "1001 characters; at most 1000"),
    ):
        error = refusal(replace(kept, keep=keep))
        assert isinstance(error, InputError)
        assert error.field == field
        assert told in error.message
