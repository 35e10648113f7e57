from __future__ import annotations

import pytest

from server.messages import Candidate, Flag
from server.quality.signals import (
    judge,
    judge_unknown,
    measure,
    repetition,
    text_tokens,
    unknown_characters,
)


def candidate(*tokens: int, finished: bool = True, log_probability: float = -3.0) -> Candidate:
    return Candidate(tokens, 0.0, log_probability, finished)


@pytest.mark.parametrize(
    ("tokens", "share"),
    [
        ((), 0.0),
        ((1, 2, 3, 4), 0.0),
        ((1, 1), 0.0),  # twice is no loop
        ((1, 1, 1), 1.0),
        ((1, 2, 1, 2, 1, 2), 1.0),
        ((1, 2, 1, 2), 0.0),
        ((9, 8, 1, 2, 1, 2, 1, 2), 6 / 8),
        ((1, 2, 1, 2, 1, 2, 1, 9), 7 / 8),  # half a round more belongs to it
        ((5, 5, 5, 6, 7, 8), 3 / 6),
        (tuple(range(17)) * 3, 0.0),  # longer phrases than are looked for
    ],
)
def test_repetition_is_the_share_in_one_loop(tokens: tuple[int, ...], share: float) -> None:
    assert repetition(tokens) == pytest.approx(share)


def test_signals_by_hand() -> None:
    signals = measure((1, 2, 3, 4), candidate(5, 6, 7, log_probability=-2.0))
    assert signals.mean_log_probability == -0.5  # three tokens and the end
    assert signals.length_ratio == 0.75
    assert signals.repetition == 0.0


def test_a_cut_output_has_no_end_token_in_its_mean() -> None:
    signals = measure((1,), candidate(5, 6, log_probability=-2.0, finished=False))
    assert signals.mean_log_probability == -1.0


def flags(source: tuple[int, ...], made: Candidate) -> set[Flag]:
    return set(judge(source, made, measure(source, made)))


def test_a_good_output_has_no_flag() -> None:
    assert flags(tuple(range(10)), candidate(*range(12))) == set()


def test_a_cut_output_is_flagged() -> None:
    assert flags((1, 2), candidate(3, finished=False)) == {Flag.TRUNCATED}


def test_a_loop_is_flagged_unless_the_source_has_it() -> None:
    looped = candidate(1, 2, 1, 2, 1, 2, 1, 2)
    assert Flag.REPETITION in flags((1, 2, 3, 4, 5, 6), looped)
    assert Flag.REPETITION not in flags((7, 8, 7, 8, 7, 8, 7, 8), looped)


@pytest.mark.parametrize(
    ("source", "output", "flagged"),
    [(8, 2, True), (8, 3, False), (8, 24, False), (8, 25, True), (2, 7, False), (2, 8, True)],
)
def test_length_ratio_counts_only_for_texts_of_some_length(
    source: int, output: int, flagged: bool
) -> None:
    made = candidate(*range(output))
    assert (Flag.LENGTH_RATIO in flags(tuple(range(source)), made)) is flagged


def test_an_empty_output_for_a_long_source_is_flagged() -> None:
    assert Flag.LENGTH_RATIO in flags(tuple(range(9)), candidate())


def test_the_unknown_token_is_flagged_on_the_side_that_has_it() -> None:
    assert judge_unknown((1, 3, 2), candidate(5, 6), unk_id=3) == (Flag.UNKNOWN_CHARACTERS,)
    assert judge_unknown((1, 2), candidate(5, 3), unk_id=3) == (Flag.UNKNOWN_TOKEN,)
    assert judge_unknown((3,), candidate(3), unk_id=3) == (
        Flag.UNKNOWN_CHARACTERS,
        Flag.UNKNOWN_TOKEN,
    )
    assert judge_unknown((1, 2), candidate(5, 6), unk_id=3) == ()


def test_unknown_characters_are_named_once_in_order_and_only_a_few() -> None:
    def encode(text: str) -> list[int]:
        return [9, *(7 if character.isascii() else 3 for character in text), 2]

    assert unknown_characters("a鬱b 龘鬱", encode, unk_id=3) == ("鬱", "龘")
    assert unknown_characters("abc", encode, unk_id=3) == ()
    assert unknown_characters("e\u0301", encode, unk_id=3) == ("\u00e9",)
    many = "".join(chr(0x4E00 + index) for index in range(100))
    assert "".join(unknown_characters(many, encode, unk_id=3)) == many[:8]


@pytest.mark.parametrize(
    ("source", "empty"),
    [
        ((90, 5, 6, 7, 2), (90, 2)),  # M2M-100, NLLB: language, text, end
        ((5, 6, 7, 2, 90), (2, 90)),  # mBART: text, end, language
        ((5, 6, 7, 2), (2,)),  # Marian with one target, mT5
        ((80, 81, 82, 5, 6, 7, 2), (80, 81, 82, 2)),  # T5: words that ask for the pair
    ],
)
def test_the_layouts_own_tokens_are_not_the_texts(
    source: tuple[int, ...], empty: tuple[int, ...]
) -> None:
    assert text_tokens(source, empty) == (5, 6, 7)
    assert text_tokens(empty, empty) == ()
