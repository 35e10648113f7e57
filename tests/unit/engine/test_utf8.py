"""Byte pieces form valid UTF-8: the rule against Python's decoder, and in every search."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.engine.search import NO_EARLY_ROWS, EarlyRows, likeliest, likeliest_at_once
from hub.engine.utf8 import START, CharacterRows, Utf8Rule

FIRST = 10
"""Token of byte 0 in these tests: tokens are not bytes."""

RULE = Utf8Rule({FIRST + byte: byte for byte in range(256)})
VOCAB = FIRST + 256 + 30


def tokens(data: bytes) -> tuple[int, ...]:
    return tuple(FIRST + byte for byte in data)


def may_follow(before: bytes) -> set[int]:
    """Bytes that the rule lets come after others."""
    values = torch.zeros(1, VOCAB)
    RULE.restrict(values, [RULE.state(tokens(before))])
    return {byte for byte in range(256) if values[0, FIRST + byte] == 0}


def can_be_completed(data: bytes) -> bool:
    """What Python's decoder says of the beginning of a text."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def test_the_rule_is_pythons_decoder_up_to_three_bytes() -> None:
    begun: list[bytes] = [b""]
    for _ in range(2):
        longer = []
        for before in begun:
            expected = {b for b in range(256) if can_be_completed(before + bytes([b]))}
            assert may_follow(before) == expected, before
            longer += [before + bytes([b]) for b in sorted(expected) if b >= 0x80 or not before]
        begun = longer
    for before in random.Random(1).sample(begun, 60):
        assert may_follow(before) == {
            b for b in range(256) if can_be_completed(before + bytes([b]))
        }, before


def test_the_rule_is_pythons_decoder_for_four_bytes() -> None:
    leads = [bytes(pair) for pair in itertools.product((0xF0, 0xF1, 0xF3, 0xF4), range(0x80, 0xC0))]
    for before in (lead for lead in leads if can_be_completed(lead)):
        for third in (0x80, 0xBF):
            data = before + bytes([third])
            assert may_follow(data) == {
                b for b in range(256) if can_be_completed(data + bytes([b]))
            }


def test_inside_a_character_nothing_else_may_come() -> None:
    values = torch.randn(3, VOCAB)
    values[1, 0] = torch.nan
    states = [RULE.state(tokens("é".encode()[:1]))] * 2 + [START]
    before = values.clone()
    RULE.restrict(values, states)
    allowed = set(range(FIRST + 0x80, FIRST + 0xC0))
    assert {t for t in range(VOCAB) if values[0, t] > -torch.inf} == allowed
    assert bool(values[1].isnan().any())  # a row that is not finite must stay so, to be noticed
    barred = set(RULE.barred_at_start)
    assert barred == {FIRST + b for b in (*range(0x80, 0xC2), *range(0xF5, 0x100))}
    assert {t for t in range(VOCAB) if values[2, t] == -torch.inf} == barred
    assert torch.equal(values[2][~values[2].isinf()], before[2][~values[2].isinf()])


def test_what_a_cut_left_of_a_character_is_left_out() -> None:
    text = tokens("a한".encode())
    for cut in range(1, 4):
        assert RULE.whole(text[: 1 + cut]) == (text if cut == 3 else text[:1])
    assert RULE.whole((3, 4)) == (3, 4)
    assert RULE.whole((3, FIRST + 0xF0)) == (3,)
    assert RULE.whole(()) == ()


def test_a_vocabulary_cut_down_begins_no_character_that_it_cannot_end() -> None:
    assert Utf8Rule.of({}) is None
    known = [0x41, 0xC3, 0x85, 0xE0, 0xF0]  # E0 and F0 want second bytes from A0 and 90 on
    rule = Utf8Rule({100 + index: byte for index, byte in enumerate(known)})
    values = torch.zeros(1, 200)
    rule.restrict(values, [rule.state(())])
    barred = values[0].isinf().nonzero().flatten().tolist()
    assert {known[index - 100] for index in barred} == {0x85, 0xE0, 0xF0}
    values = torch.zeros(1, 200)
    rule.restrict(values, [rule.state((101,))])
    assert (~values[0].isinf()).nonzero().flatten().tolist() == [102]


@pytest.mark.parametrize("keep", [1, 4])
def test_all_ways_of_ranking_agree(keep: int) -> None:
    """Host and device ways, rows inside and outside of characters, one that may not end."""
    logits = torch.randn(4, VOCAB) * 4
    inside = RULE.state(tokens("한".encode()[:2]))
    rows = CharacterRows(RULE, [START, inside, START, RULE.state(tokens(b"\xf0"))])
    early = EarlyRows([2], [int(logits[2].argmax())])
    plain = likeliest(logits.clone(), keep, NO_EARLY_ROWS)
    found = likeliest(logits.clone(), keep, early, (), rows)
    other = likeliest_at_once(logits.clone(), keep, early, (), rows)
    assert not torch.equal(plain[1], found[1])
    for one, same in zip(found, other, strict=True):
        torch.testing.assert_close(one, same)
    # Log-probabilities are those of before.
    expected = logits.log_softmax(-1).gather(1, found[1])
    torch.testing.assert_close(found[0], expected)


@pytest.fixture(scope="module")
def spelling_base(lab: Any) -> Any:
    """A random base whose vocabulary is mostly byte pieces, so that its outputs are noise."""
    model = lab.model(seed=5, vocab_size=320)
    base = lab.base(model)
    from tests.unit.engine.conftest import start_id

    ids = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    ids |= {f"<0x{byte:02X}>": 10 + byte for byte in range(256)}
    ids |= {f"piece{i}": i for i in (*range(4, 10), *range(266, 320))}
    (base.folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    assert start_id(model) == 2
    return base


@dataclass(frozen=True)
class Spelling:
    """A tokenizer as far as the engine looks at it."""

    byte_ids: dict[int, int]


PLAIN = Spelling({})
SPELLING = Spelling({10 + byte: byte for byte in range(256)})


def spelled(token_ids: tuple[int, ...]) -> bytes:
    """The bytes of an output, other pieces written as "|"."""
    return b"".join(bytes([token - 10]) if 10 <= token < 266 else b"|" for token in token_ids)


def requests_of(lab: Any, options: DecodingOptions, count: int = 12) -> list[DecodeRequest]:
    return list(lab.requests(count, seed=21, options=options))


OPTIONS = {
    "greedy": DecodingOptions(max_new_tokens=17),
    "beam": DecodingOptions(beam_size=4, max_new_tokens=17, num_hypotheses=4),
    "forced end": DecodingOptions(beam_size=3, max_new_tokens=6, forced_eos=True),
    "least": DecodingOptions(max_new_tokens=12, min_new_tokens=12),
    "rules": DecodingOptions(max_new_tokens=17, no_repeat_ngram_size=2, repetition_penalty=1.4),
}


@pytest.mark.parametrize("quantization", ["float32", "int8"])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_output_is_valid(lab: Any, spelling_base: Any, quantization: str, name: str) -> None:
    requests = requests_of(lab, OPTIONS[name])
    without = lab.engine(spelling_base, quantization, tokenizer=PLAIN)
    invalid = 0
    for finished in without.translate(requests):
        for hypothesis in finished.hypotheses:
            try:
                spelled(hypothesis.token_ids).decode()
            except UnicodeDecodeError:
                invalid += 1
    assert invalid > 3, "the comparison is worth something only if noise is invalid"
    engine = lab.engine(spelling_base, quantization, tokenizer=SPELLING)
    for finished in engine.translate(requests):
        assert finished.error is None
        assert finished.hypotheses
        for hypothesis in finished.hypotheses:
            spelled(hypothesis.token_ids).decode()


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_company_changes_nothing(lab: Any, spelling_base: Any, quantization: str) -> None:
    engine = lab.engine(spelling_base, quantization, tokenizer=SPELLING)
    requests = requests_of(lab, OPTIONS["greedy"]) + [
        DecodeRequest(100 + one.key, one.source_ids, one.prefix_ids, 0, OPTIONS["beam"])
        for one in requests_of(lab, OPTIONS["beam"], 6)
    ]
    alone = [engine.translate([request])[0] for request in requests]
    for mixed, own in zip(engine.translate(requests), alone, strict=True):
        assert [h.token_ids for h in mixed.hypotheses] == [h.token_ids for h in own.hypotheses]
