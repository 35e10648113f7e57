"""Every family computes what transformers computes, and decodes as generate does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from hub.engine.requests import DecodingOptions

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "mbart": ("mbart", {}),
    "mbart scaled relu": ("mbart", {"scale_embedding": True, "activation_function": "relu"}),
    "bart": ("bart", {}),
    "bart narrow": ("bart", {"d_model": 24, "encoder_attention_heads": 3, "vocab_size": 131}),
    "marian": ("marian", {}),
    "marian gelu_new": ("marian", {"activation_function": "gelu_new", "scale_embedding": False}),
    "t5": ("t5", {}),
    "t5 wide heads": ("t5", {"d_kv": 16, "num_heads": 3, "num_layers": 1, "num_decoder_layers": 4}),
    "t5 v1.1": ("t5_gated", {}),
    "t5 gated silu": ("t5_gated", {"feed_forward_proj": "gated-silu"}),
    "mt5": ("mt5", {}),
}
FAMILIES = ("mbart", "bart", "marian", "t5", "t5_gated", "mt5")


@pytest.fixture(scope="module")
def served(lab: Any) -> Any:
    """A family's model and an engine on it, made once."""
    made: dict[str, Any] = {}

    def serve(family: str) -> Any:
        if family not in made:
            model = lab.model(seed=3, family=family)
            made[family] = (model, lab.engine(lab.base(model)))
        return made[family]

    return serve


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_equal_transformers(lab: Any, name: str) -> None:
    family, config = CONFIGS[name]
    model = lab.model(seed=7, family=family, **config)
    engine = lab.engine(lab.base(model))
    requests = lab.forced(12, seed=3)
    references = [lab.reference_logits(model, request) for request in requests]
    assert len({tuple(reference.argmax(-1).tolist()) for reference in references}) > 6
    assert max(float(reference.abs().max()) for reference in references) > 1

    for logits, reference in zip(engine.forced_logits(requests), references, strict=True):
        torch.testing.assert_close(logits, reference, atol=1e-4, rtol=1e-5)


OPTIONS = {
    "greedy": DecodingOptions(max_new_tokens=20),
    "beam 5": DecodingOptions(beam_size=5, max_new_tokens=20),
    "n-best": DecodingOptions(
        beam_size=5, max_new_tokens=16, length_penalty=0.4, num_hypotheses=5
    ),
    "min length": DecodingOptions(
        beam_size=5, max_new_tokens=12, min_new_tokens=7, length_penalty=2.0, num_hypotheses=3
    ),
    "no repeat, greedy": DecodingOptions(max_new_tokens=24, no_repeat_ngram_size=2),
    "no repeat, beam 5": DecodingOptions(beam_size=5, max_new_tokens=16, no_repeat_ngram_size=3),
    "penalty, greedy": DecodingOptions(max_new_tokens=24, repetition_penalty=1.7),
    "penalty, beam 5": DecodingOptions(
        beam_size=5, max_new_tokens=16, repetition_penalty=1.3, num_hypotheses=2
    ),
    "bad words": DecodingOptions(beam_size=5, max_new_tokens=12, bad_words=tuple(range(20, 80))),
    "forced end": DecodingOptions(beam_size=5, max_new_tokens=6, forced_eos=True),
    "forced end, greedy": DecodingOptions(max_new_tokens=4, forced_eos=True),
    "no forced end": DecodingOptions(beam_size=5, max_new_tokens=3, forced_eos=False),
    "everything": DecodingOptions(
        beam_size=5, max_new_tokens=14, min_new_tokens=4, length_penalty=1.4, num_hypotheses=4,
        no_repeat_ngram_size=1, repetition_penalty=1.2, bad_words=(7, 8, 9), forced_eos=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", [*FAMILIES, "m2m_100"])
@pytest.mark.parametrize("name", OPTIONS)
def test_decoding_equals_generate(lab: Any, served: Any, family: str, name: str) -> None:
    model, engine = served(family)
    forced_bos = family in ("mbart", "m2m_100")
    options = OPTIONS[name]
    if family == "m2m_100":
        # transformers takes a generated pad token for padding and does not count its position.
        options = replace(
            options, bad_words=(*(options.bad_words or ()), model.config.pad_token_id)
        )
    requests = lab.requests(4, seed=11, options=options, forced_bos=forced_bos)
    references = [lab.reference_output(model, request) for request in requests]
    assert len({reference[0][0] for reference in references}) >= 2

    for finished, reference in zip(engine.translate(requests), references, strict=True):
        assert finished.error is None
        assert [one.token_ids for one in finished.hypotheses] == [ids for ids, _ in reference]
        for one, (_, score) in zip(finished.hypotheses, reference, strict=True):
            if score is not None:
                assert one.score == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_some_end_and_some_are_cut(lab: Any, served: Any, family: str) -> None:
    """The comparisons above are worth something only if both kinds are in them."""
    _, engine = served(family)
    options = DecodingOptions(max_new_tokens=20, forced_eos=False)
    found = engine.translate(lab.requests(24, seed=11, options=options, forced_bos=False))
    assert {one.hypotheses[0].finished for one in found} == {True, False}


@pytest.mark.parametrize(
    "change",
    [
        {"no_repeat_ngram_size": 2},
        {"repetition_penalty": 1.7},
        {"bad_words": tuple(range(20, 80))},
        {"forced_eos": True, "max_new_tokens": 4},
        {"min_new_tokens": 20},
    ],
    ids=str,
)
def test_every_rule_changes_something(lab: Any, served: Any, change: dict[str, Any]) -> None:
    """And leaves alone the request beside it that did not ask."""
    _, engine = served("bart")
    plain = DecodingOptions(max_new_tokens=20, forced_eos=False)
    requests = lab.requests(8, seed=11, options=plain, forced_bos=False)
    alone = [one.hypotheses[0] for one in engine.translate(requests)]
    ruled = [
        replace(one, options=replace(plain, **change)) if one.key % 2 else one for one in requests
    ]
    found = [one.hypotheses[0] for one in engine.translate(ruled)]
    assert found[::2] == alone[::2]
    assert [one.token_ids for one in found[1::2]] != [one.token_ids for one in alone[1::2]]
