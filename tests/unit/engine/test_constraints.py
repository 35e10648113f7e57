"""Searches that must hold terms: against enumeration, and beside rows that need not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.engine.constraints import ConstrainedSearch, Terms, check_constraints
from hub.engine.requests import DecodeRequest, DecodingOptions, Hypothesis
from hub.engine.search import Candidate
from hub.errors import DecodingError

EOS = 0
VOCABULARY = 5
Forms = tuple[tuple[tuple[int, ...], ...], ...]


def request(terms: Forms, beam: int, longest: int, **more: Any) -> DecodeRequest:
    options = DecodingOptions(beam_size=beam, max_new_tokens=longest, length_penalty=1.0)
    return DecodeRequest(1, (1,), (), 0, options, constraints=terms, **more)


def model(seed: int) -> np.ndarray:
    """Log-probabilities of the next token by the last one; row VOCABULARY is the start."""
    chance = np.random.default_rng(seed).normal(size=(VOCABULARY + 1, VOCABULARY))
    return chance - np.log(np.exp(chance).sum(1, keepdims=True))


def run(asked: DecodeRequest, scores: np.ndarray) -> Hypothesis:
    """Drive a search with every continuation of every beam, as a whole vocabulary offers them."""
    search = ConstrainedSearch(asked, [EOS])
    while True:
        candidates = [
            Candidate(beam, token, search.scores[beam] + float(scores[last, token]))
            for beam in range(asked.options.beam_size)
            for last in [search.chosen(beam)[-1] if search.chosen(beam) else VOCABULARY]
            for token in range(VOCABULARY)
        ]
        over, _, _ = search.advance(candidates)
        if over:
            return search.hypotheses()[0]


def holds(tokens: Sequence[int], terms: Forms) -> bool:
    def inside(form: Sequence[int]) -> bool:
        places = range(len(tokens) - len(form) + 1)
        return any(tuple(tokens[at : at + len(form)]) == tuple(form) for at in places)

    return all(any(map(inside, forms)) for forms in terms)


def best_of_all(terms: Forms, longest: int, scores: np.ndarray) -> tuple[tuple[int, ...], float]:
    """Return the sequence with the best score that holds the terms, by trying all of them."""
    found = []
    for length in range(longest):
        for tokens in itertools.product(range(1, VOCABULARY), repeat=length):
            if holds(tokens, terms):
                steps = zip((VOCABULARY, *tokens), (*tokens, EOS), strict=True)
                total = sum(float(scores[a, b]) for a, b in steps)
                found.append((total / (length + 1), tokens))
    score, tokens = max(found)
    return tokens, score


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "terms", [(((2, 3),),), (((4,),), ((1, 1),)), (((3, 1), (2, 2, 2)),), (((1, 2),), ((2, 3),))]
)
def test_a_wide_beam_finds_the_best_of_all(terms: Forms, seed: int) -> None:
    scores = model(seed)
    tokens, score = best_of_all(terms, 5, scores)
    found = run(request(terms, 400, 5), scores)
    assert found.finished
    assert found.token_ids == tokens
    assert found.score == pytest.approx(score)


forms = st.lists(st.integers(1, VOCABULARY - 1), min_size=1, max_size=3).map(tuple)
some_terms = st.lists(st.lists(forms, min_size=1, max_size=2).map(tuple), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(some_terms.map(tuple), st.integers(0, 1000), st.integers(2, 8))
def test_what_ends_holds_its_terms_whatever_the_beam(terms: Forms, seed: int, beam: int) -> None:
    found = run(request(terms, beam, 24), model(seed))
    if found.finished:
        assert holds(found.token_ids, terms)
    else:  # the length limit came first, and nothing had ended
        assert len(found.token_ids) == 24


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(4, 8))
def test_a_term_in_the_way_of_the_model_is_still_there(seed: int, beam: int) -> None:
    scores = model(seed)
    scores[:, 4] = -30.0  # what it would never say
    found = run(request((((4, 3),),), beam, 16), scores)
    assert holds(found.token_ids, (((4, 3),),))


def test_the_word_that_ends_a_term_is_not_continued() -> None:
    scores = np.full((VOCABULARY + 1, VOCABULARY), -3.0)
    scores[:, 2] = -0.1  # would follow everything
    asked = request((((3,),),), 4, 12, joiners=frozenset({2}))
    found = run(asked, scores)
    place = found.token_ids.index(3)
    assert found.token_ids[place + 1 : place + 2] != (2,)


def test_progress_by_hand() -> None:
    terms = Terms(request((((1, 2, 1, 3),), ((4,), (2, 2))), 4, 9))
    held = terms.begin()
    assert terms.banks == 4 + 1 + 1
    assert terms.wanted([], held) == {1, 4, 2}
    tokens: list[int] = []
    counts = []
    for token in (1, 2, 1, 2, 1, 3, 4):
        tokens.append(token)
        held = terms.extend(tokens, held)
        counts.append(held.count)
    # 1 2 1 2: the last two begin the term anew; a form of two tokens counts as its shortest.
    assert counts == [1, 2, 3, 2, 3, 4, 5]
    assert terms.complete(held)
    assert terms.wanted(tokens, held) == set()


@pytest.mark.parametrize(
    ("terms", "beam", "longest", "told"),
    [
        ((((1,),),), 1, 9, "beam_size is 1"),
        (((),), 4, 9, "no form"),
        ((((),),), 4, 9, "empty one"),
        ((((1, 2, 3),),), 4, 3, "the terms have 3 tokens, the output at most 3"),
    ],
)
def test_terms_that_cannot_be_met_are_refused(
    terms: Forms, beam: int, longest: int, told: str
) -> None:
    with pytest.raises(DecodingError, match=told):
        check_constraints(request(terms, beam, longest))


# In the engine


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_the_engine_puts_terms_into_outputs_and_disturbs_nobody(
    lab: Any, zoo: Any, quantization: str
) -> None:
    engine = zoo.engine(lab, quantization, max_rows=64)
    plain = DecodingOptions(max_new_tokens=14)
    greedy = lab.requests(4, seed=3, options=plain, slots=(0, 1, 2, 3))
    beams = lab.requests(3, seed=4, options=replace(plain, beam_size=4), slots=(0, 1, 2))
    beams = [replace(one, key=10 + one.key) for one in beams]
    terms: Forms = (((11, 12, 13),), ((17,), (18, 19)))
    forced = [replace(one, key=20 + one.key, constraints=terms) for one in beams]
    alone = {one.key: engine.translate([one])[0].hypotheses for one in (*greedy, *beams, *forced)}
    together = engine.translate([*forced, *greedy, *beams])
    assert {one.key: one.hypotheses for one in together} == alone
    for one in forced:
        (best, *_) = alone[one.key]
        assert holds(best.token_ids, terms)
        assert math.isfinite(best.log_probability)
    assert not any(holds(alone[one.key][0].token_ids, terms) for one in beams)


def test_a_term_of_another_vocabulary_is_refused(lab: Any, zoo: Any) -> None:
    engine = zoo.engine(lab, "float32", max_rows=8)
    (one,) = lab.requests(1, seed=1, options=DecodingOptions(beam_size=4, max_new_tokens=9))
    with pytest.raises(Exception, match="outside the base's"):
        engine.admit([replace(one, constraints=(((10**6,),),))])
