"""A row with a shortlist chooses as it would from the whole vocabulary with the rest masked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hub.engine.engine import Engine
from hub.engine.forms import flatten, restore
from hub.engine.output import OutputTables
from hub.engine.requests import DecodeRequest, DecodingOptions, Finished
from hub.engine.rules import RuledRow, Rules
from hub.engine.search import EarlyRows, likeliest
from hub.engine.shortlists import EVERY_TOKEN, Columns, Shortlist
from hub.engine.utf8 import START, CharacterRows, Utf8Rule
from hub.errors import AdapterBindingError, DecodingError
from hub.vocabulary import VOCABULARY_FILE, vocabulary_json

from .test_engine_isolation import assert_compositions_hold

VOCABULARY = 120
END = 2
GREEDY = DecodingOptions(max_new_tokens=14)
BEAM = DecodingOptions(beam_size=4, max_new_tokens=10, num_hypotheses=4)
RULED = DecodingOptions(
    max_new_tokens=14, no_repeat_ngram_size=2, repetition_penalty=1.3, bad_words=(9, 77)
)
SHORT = DecodingOptions(max_new_tokens=6, min_new_tokens=5, forced_eos=True)
RULED_BEAM = replace(BEAM, no_repeat_ngram_size=2, bad_words=(9, 77))
EVERY = (GREEDY, BEAM, RULED, SHORT, RULED_BEAM)
EVENS = Shortlist([END, *range(8, VOCABULARY, 2)])
ODDS = Shortlist([END, *range(7, VOCABULARY, 2)])
THIRDS = Shortlist([END, *range(5, VOCABULARY, 3)])
LISTS = (EVENS, ODDS, THIRDS)


def mixed(lab: Any, count: int, seed: int, slots: Sequence[int] = (0,)) -> list[DecodeRequest]:
    """Requests of all searches, adapters and lists, some of them without a list."""
    plain = lab.requests(count, seed, GREEDY, slots)
    return [
        replace(
            one,
            options=EVERY[key % len(EVERY)],
            shortlist=(*LISTS, None)[key % (len(LISTS) + 1)],
            align=key % 3 == 0,
            token_scores=key % 2 == 0,
        )
        for key, one in enumerate(plain)
    ]


def others(shortlist: Shortlist) -> list[int]:
    return sorted(set(range(VOCABULARY)) - set(shortlist.ids))


@contextmanager
def masked(model: Any, shortlist: Shortlist) -> Iterator[None]:
    """Transformers' model, whose logits of all tokens but the listed ones are -inf."""

    def mask(_: Any, __: Any, logits: Tensor) -> Tensor:
        return logits.index_fill(-1, torch.tensor(others(shortlist)), -torch.inf)

    hook = model.lm_head.register_forward_hook(mask)
    try:
        yield
    finally:
        hook.remove()


def masked_engine(engine: Engine, shortlist: Shortlist) -> Engine:
    """The same engine, whose whole table has a bias of -inf for all tokens but the listed ones."""
    twin = engine.twin(engine.slots)
    model = twin._model
    bias = torch.zeros(VOCABULARY)
    bias[others(shortlist)] = -torch.inf
    twin._tables = OutputTables(replace(model.table, bias=bias), model.output)
    return twin


def tokens_of(finished: Finished) -> list[tuple[int, ...]]:
    assert finished.error is None
    return [one.token_ids for one in finished.hypotheses]


@pytest.mark.parametrize("options", EVERY, ids=["greedy", "beam", "ruled", "short", "ruled-beam"])
def test_transformers_finds_the_same_with_the_rest_masked(
    lab: Any, model: Any, base: Any, options: DecodingOptions
) -> None:
    engine = lab.engine(base)
    requests = lab.requests(9, seed=71, options=options)
    listed = [replace(one, shortlist=LISTS[one.key % 3]) for one in requests]
    found = engine.translate(listed)
    for request, finished in zip(listed, found, strict=True):
        with masked(model, request.shortlist):
            expected = lab.reference_output(model, request)
        assert tokens_of(finished) == [tokens for tokens, _ in expected]
        if options.beam_size > 1:
            scores = [hypothesis.score for hypothesis in finished.hypotheses]
            assert scores == pytest.approx([score for _, score in expected], abs=1e-4)
    assert [tokens_of(one) for one in found] != [
        tokens_of(one) for one in engine.translate(requests)
    ]


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_mixed_lists_and_adapters_find_what_a_masked_table_does(
    lab: Any, zoo: Any, quantization: str
) -> None:
    engine = zoo.engine(lab, quantization)
    requests = mixed(lab, 48, seed=72, slots=zoo.slots)
    found = {one.key: one for one in engine.translate(requests)}
    assert engine.table_bytes > 0
    for shortlist in LISTS:
        reference = masked_engine(engine, shortlist)
        for slot, folder in enumerate(zoo.folders, start=1):
            reference.place(slot, engine.read_adapter(folder))
        own = [one for one in requests if one.shortlist == shortlist]
        for request, expected in zip(
            own, reference.translate([replace(one, shortlist=None) for one in own]), strict=True
        ):
            assert_alike(found[request.key], expected)


def assert_alike(found: Finished, expected: Finished) -> None:
    assert found.error is expected.error is None
    for own, other in zip(found.hypotheses, expected.hypotheses, strict=True):
        assert own.token_ids == other.token_ids
        assert own.alignment == other.alignment
        assert own.score == pytest.approx(other.score, abs=1e-5)
        assert own.token_log_probabilities == pytest.approx(other.token_log_probabilities, abs=1e-4)


@pytest.mark.parametrize(
    ("quantization", "table_bytes"), [("float32", 1 << 20), ("int8", 1 << 20), ("int8", 0)]
)
def test_rows_of_other_lists_change_nothing(
    lab: Any, zoo: Any, quantization: str, table_bytes: int
) -> None:
    engine = zoo.engine(lab, quantization, table_bytes=table_bytes)
    pool = mixed(lab, 40, seed=73, slots=zoo.slots)
    exact = quantization == "int8"
    assert_compositions_hold(engine, pool, range(2), exact=exact, hostile=False)


@pytest.mark.parametrize("family", ["m2m_100", "marian", "t5_gated"])
def test_what_is_packed_changes_no_bit_in_8_bits(lab: Any, family: str) -> None:
    model = lab.model(family=family)
    base = lab.base(model)
    end = model.generation_config.eos_token_id
    lists = tuple(Shortlist([end, *one.ids]) for one in LISTS)
    requests = [
        replace(one, shortlist=lists[one.key % 3] if one.shortlist else None)
        for one in mixed(lab, 24, seed=74)
    ]
    packed = lab.engine(base, "int8")
    picked = lab.engine(base, "int8", table_bytes=0)
    assert outputs(packed, requests) == outputs(picked, requests)
    assert packed.table_bytes > picked.table_bytes == 0


def outputs(engine: Engine, requests: Sequence[DecodeRequest]) -> list[Any]:
    return [one.hypotheses for one in engine.translate(requests)]


def test_tables_leave_when_others_need_their_room(lab: Any, base: Any) -> None:
    roomy = lab.engine(base, "int8")
    sizes = []
    for shortlist in (EVENS, THIRDS):
        roomy.translate([listed(lab, shortlist)])
        sizes.append(roomy.table_bytes)
    assert 0 < sizes[0] < sizes[1]

    tight = lab.engine(base, "int8", table_bytes=sizes[0])
    tight.translate([listed(lab, EVENS)])
    assert tight.table_bytes == sizes[0]
    both = [listed(lab, EVENS), replace(listed(lab, THIRDS), key=1)]
    assert outputs(tight, both) == outputs(roomy, both)
    assert tight.table_bytes == sizes[0]  # the one in use stayed
    for _ in range(2):
        tight.translate([listed(lab, THIRDS)])
    assert tight.table_bytes == sizes[1] - sizes[0]


def listed(lab: Any, shortlist: Shortlist) -> DecodeRequest:
    [request] = lab.requests(1, seed=75, options=GREEDY)
    return replace(request, shortlist=shortlist)


def test_an_adapters_own_list_goes_before_the_languages(lab: Any, zoo: Any) -> None:
    engine = zoo.engine(lab, "int8")
    own = replace(
        engine.read_adapter(zoo.folders[0]), tokens=torch.tensor(THIRDS.ids, dtype=torch.int32)
    )
    request = replace(listed(lab, EVENS), slot=1)
    by_language = outputs(engine, [request])
    expected = outputs(engine, [replace(request, shortlist=THIRDS)])
    assert by_language != expected
    before = engine.table_bytes
    engine.clear(1)
    engine.place(1, own)
    engine.place(2, own)
    assert outputs(engine, [request]) == expected
    whole = replace(request, shortlist=None)
    assert not set(THIRDS.ids).issuperset(outputs(engine, [whole])[0][0].token_ids)
    assert engine.table_bytes == before
    engine.clear(1)
    assert engine.table_bytes == before  # slot 2 has the same list
    engine.clear(2)
    assert engine.table_bytes == before - bytes_of(THIRDS, engine)


def bytes_of(shortlist: Shortlist, engine: Engine) -> int:
    return len(shortlist) * engine._model.output.row_bytes


def test_a_folders_list_is_read_and_comes_back_from_its_bytes(
    lab: Any, model: Any, zoo: Any
) -> None:
    engine = lab.engine(zoo.base, "int8")
    folder = lab.lora(model, 21)
    assert engine.read_adapter(folder).tokens is None
    (folder / VOCABULARY_FILE).write_text(vocabulary_json("ko", list(THIRDS.ids)))
    adapter = engine.read_adapter(folder)
    assert adapter.tokens is not None
    assert adapter.tokens.tolist() == list(THIRDS.ids)
    again = restore(*flatten(adapter))
    engine.place(1, again)
    request = replace(listed(lab, EVENS), slot=1)
    assert outputs(engine, [request]) == outputs(engine, [replace(request, shortlist=THIRDS)])
    for tokens, why in (([END, VOCABULARY], "has 120 tokens"), ([5, 6], "end token")):
        (folder / VOCABULARY_FILE).write_text(vocabulary_json("ko", tokens))
        with pytest.raises(AdapterBindingError, match=f"{VOCABULARY_FILE}.*{why}"):
            engine.read_adapter(folder)


def test_terms_and_wide_beams_have_the_whole_vocabulary(lab: Any, base: Any) -> None:
    engine = lab.engine(base)
    [request] = lab.requests(1, seed=76, options=BEAM)
    terms = replace(request, constraints=(((9, 11),),))
    assert outputs(engine, [replace(terms, shortlist=EVENS)]) == outputs(engine, [terms])
    narrow = Shortlist([END, 10, 20, 30, 40, 50, 60, 70])
    assert outputs(engine, [replace(request, shortlist=narrow)]) == outputs(engine, [request])


@pytest.mark.parametrize(
    ("shortlist", "why"),
    [
        (Shortlist([END, VOCABULARY]), "the base has 120 tokens"),
        (Shortlist([5, 6]), r"add \[2\]"),
    ],
)
def test_a_list_that_cannot_serve_is_refused(
    lab: Any, base: Any, shortlist: Shortlist, why: str
) -> None:
    with pytest.raises(DecodingError, match=why):
        lab.engine(base).admit([listed(lab, shortlist)])


def test_a_list_is_its_tokens() -> None:
    assert Shortlist([5, 3, 5]) == Shortlist([3, 5])
    assert hash(Shortlist([5, 3])) == hash(Shortlist([3, 5]))
    assert Shortlist([3, 5]) != Shortlist([3, 6])
    assert Shortlist([3, 5, 9]).columns([9, 4, 3, 10, 0]) == [2, 0]
    for wrong in ([], [-1], [1 << 31]):
        with pytest.raises(ValueError, match="token"):
            Shortlist(wrong)


BYTES = Utf8Rule({20 + byte: byte for byte in range(0x70, 0x100)})


@pytest.mark.parametrize("keep", [1, 4])
def test_restrictions_of_a_list_are_those_of_the_whole_vocabulary(keep: int) -> None:
    shortlist = Shortlist([END, *range(6, 276, 2)])
    logits = torch.randn(6, 276, generator=torch.Generator().manual_seed(77))

    def restricted(listed: Columns) -> tuple[EarlyRows, list[RuledRow], CharacterRows]:
        inside = BYTES.state([20 + 0xE1])
        return (
            EarlyRows([0, 4], [END], listed),
            [
                RuledRow(1, Rules(1.7, 2, (8, 13), None), (3, 6, 9, 6), last=False, listed=listed),
                RuledRow(3, Rules(1.0, 0, (), END), (3, 5, 3), last=True, listed=listed),
            ],
            CharacterRows(BYTES, [START, START, inside, START, START, inside], listed),
        )

    masked = torch.full_like(logits, -torch.inf)
    ids = torch.tensor(shortlist.ids).long()
    masked[:, ids] = logits[:, ids]
    expected, tokens = likeliest(masked, keep, *restricted(EVERY_TOKEN))
    values, columns = likeliest(logits[:, ids].contiguous(), keep, *restricted(shortlist))
    assert torch.equal(torch.where(values > -torch.inf, ids[columns], -1),
                       torch.where(expected > -torch.inf, tokens, -1))  # fmt: skip
    torch.testing.assert_close(values, expected)
    free, _ = likeliest(masked.clone(), keep, EarlyRows((), ()))
    assert not torch.equal(free, expected)
