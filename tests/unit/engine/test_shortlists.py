"""A row with a shortlist chooses as it would from the whole vocabulary with the rest masked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import SuppressTokensLogitsProcessor

from hub.engine.engine import Engine
from hub.engine.requests import DecodeRequest, DecodingOptions, Finished
from hub.engine.shortlists import Shortlist
from hub.errors import DecodingError

VOCABULARY = 120
END = 2
GREEDY = DecodingOptions(max_new_tokens=14)
BEAM = DecodingOptions(beam_size=4, max_new_tokens=10, num_hypotheses=4)
RULED = DecodingOptions(
    max_new_tokens=14, no_repeat_ngram_size=2, repetition_penalty=1.3, bad_words=(9, 77)
)
SHORT = DecodingOptions(max_new_tokens=6, min_new_tokens=5, forced_eos=True)
EVENS = Shortlist([END, *range(8, VOCABULARY, 2)])
ODDS = Shortlist([END, *range(7, VOCABULARY, 2)])
THIRDS = Shortlist([END, *range(5, VOCABULARY, 3)])
LISTS = (EVENS, ODDS, THIRDS, None)


def with_lists(
    requests: Sequence[DecodeRequest], lists: Sequence[Shortlist | None] = LISTS
) -> list[DecodeRequest]:
    return [
        replace(one, key=key, shortlist=lists[key % len(lists)]) for key, one in enumerate(requests)
    ]


def masked(model: Any, request: DecodeRequest) -> list[tuple[tuple[int, ...], float | None]]:
    """What transformers' generate finds when all tokens but the listed ones are suppressed."""
    assert request.shortlist is not None
    others = sorted(set(range(VOCABULARY)) - set(request.shortlist.ids))
    options = request.options
    beams = options.beam_size > 1
    with torch.no_grad():
        found = model.generate(
            input_ids=torch.tensor([request.source_ids]),
            decoder_input_ids=torch.tensor(
                [[model.generation_config.decoder_start_token_id, *request.prefix_ids]]
            ),
            num_beams=options.beam_size,
            max_new_tokens=options.max_new_tokens,
            min_new_tokens=options.min_new_tokens or None,
            num_return_sequences=options.num_hypotheses,
            early_stopping=False if beams else None,
            no_repeat_ngram_size=options.no_repeat_ngram_size or None,
            repetition_penalty=options.repetition_penalty,
            bad_words_ids=[[word] for word in options.bad_words or ()] or None,
            forced_eos_token_id=END if options.forced_eos else None,
            logits_processor=[SuppressTokensLogitsProcessor(others)],
            do_sample=False,
            return_dict_in_generate=True,
        )
    start = 1 + len(request.prefix_ids)
    rows = [row[start:] for row in found.sequences.tolist()]
    return [tuple(row[: row.index(END)] if END in row else row) for row in rows]


def tokens_of(finished: Finished) -> list[tuple[int, ...]]:
    assert finished.error is None
    return [one.token_ids for one in finished.hypotheses]


@pytest.mark.parametrize("options", [GREEDY, RULED, SHORT], ids=["greedy", "ruled", "short"])
def test_greedy_search_finds_what_transformers_does_with_the_rest_suppressed(
    lab: Any, model: Any, base: Any, options: DecodingOptions
) -> None:
    engine = lab.engine(base)
    requests = lab.requests(12, seed=71, options=options)
    listed = with_lists(requests, (EVENS, ODDS, THIRDS))
    found = [tokens_of(one) for one in engine.translate(listed)]
    assert found == [masked(model, one) for one in listed]
    assert found != [tokens_of(one) for one in engine.translate(requests)]
