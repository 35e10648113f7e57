"""The search that a base was published with: read, checked, and decoded as generate does."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from hub.bases import Base
from hub.engine.families.config import decoding_defaults
from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.errors import CorruptBaseError, DecodingError

# generation_config.json of facebook/m2m100_418M, Helsinki-NLP/opus-mt-en-de and of two more kinds.
PUBLISHED: dict[str, dict[str, Any]] = {
    "m2m_100": {"num_beams": 5, "early_stopping": True, "max_length": 24},
    "marian": {"num_beams": 6, "max_length": 24, "length_penalty": 0.6},
    "mbart": {"num_beams": 5, "early_stopping": True, "length_penalty": 1.4, "max_length": 20},
    "t5": {"num_beams": 4, "early_stopping": "never", "length_penalty": 2.0, "max_length": 16},
    "bart": {"num_beams": 4, "no_repeat_ngram_size": 3, "forced_eos_token_id": 2, "max_length": 20},
}


def published(lab: Any, family: str) -> tuple[Any, Base]:
    model = lab.model(seed=3, family=family)
    base = lab.base(model)
    path = base.folder / "generation_config.json"
    config = json.loads(path.read_text()) | PUBLISHED[family]
    path.write_text(json.dumps(config), encoding="utf-8")
    model.generation_config = type(model.generation_config).from_pretrained(base.folder)
    return model, Base(name="random", folder=base.folder)


def own_options(base: Base, prefix: int) -> DecodingOptions:
    own = base.architecture.decoding
    assert own.max_length is not None
    return DecodingOptions(
        beam_size=own.beam_size,
        max_new_tokens=own.max_length - 1 - prefix,
        length_penalty=own.length_penalty,
        early_stopping=own.early_stopping,
    )


def generated(model: Any, request: DecodeRequest) -> tuple[int, ...]:
    """What generate finds with nothing said but the language."""
    prefix = request.prefix_ids
    with torch.no_grad():
        found = model.generate(
            input_ids=torch.tensor([request.source_ids]),
            forced_bos_token_id=prefix[0] if prefix else None,
        )
    row = found[0, 1 + len(prefix) :].tolist()
    end = model.generation_config.eos_token_id
    return tuple(row[: row.index(end)] if end in row else row)


@pytest.mark.parametrize("family", PUBLISHED)
def test_the_bases_own_search_is_that_of_generate(lab: Any, family: str) -> None:
    model, base = published(lab, family)
    forced = family in ("mbart", "m2m_100")
    options = own_options(base, int(forced))
    requests = lab.requests(16, seed=11, options=options, forced_bos=forced)
    expected = [generated(model, request) for request in requests]
    engine = lab.engine(base)
    greedy = DecodingOptions(max_new_tokens=options.max_new_tokens)
    plain = [DecodeRequest(r.key, r.source_ids, r.prefix_ids, 0, greedy) for r in requests]
    found = [one.hypotheses[0].token_ids for one in engine.translate(requests)]
    assert found == expected
    assert found != [one.hypotheses[0].token_ids for one in engine.translate(plain)]


def test_when_a_search_is_over_changes_what_is_found(lab: Any) -> None:
    _, base = published(lab, "m2m_100")
    engine = lab.engine(base)
    outputs = []
    for stopping in (True, False, "never"):
        options = DecodingOptions(
            beam_size=5, max_new_tokens=20, length_penalty=2.0, early_stopping=stopping
        )
        found = engine.translate(lab.requests(24, seed=11, options=options))
        outputs.append([one.hypotheses[0].token_ids for one in found])
        assert all(one.error is None for one in found)
    assert len({str(one) for one in outputs}) == 3


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"num_beams": 0}, "num_beams is 0, expected 1 to 64"),
        ({"num_beams": 10000}, "num_beams is 10000, expected 1 to 64"),
        ({"num_beams": "5"}, "num_beams is '5', expected a whole number"),
        ({"num_beams": True}, "num_beams is True, expected a whole number"),
        ({"length_penalty": "long"}, "length_penalty is 'long', expected a number"),
        ({"length_penalty": float("nan")}, "length_penalty is nan, expected a number"),
        ({"early_stopping": "soon"}, "early_stopping is 'soon', expected true, false or 'never'"),
        ({"max_length": 0}, "max_length is 0, expected 1 to"),
        ({"max_new_tokens": -1}, "max_new_tokens is -1, expected a whole number"),
    ],
)
def test_bad_values_are_refused_by_name(config: dict[str, Any], said: str) -> None:
    with pytest.raises(CorruptBaseError) as caught:
        decoding_defaults(config)
    assert said in caught.value.message


def test_what_is_not_said_is_greedy() -> None:
    for config in ({}, {"num_beams": None, "length_penalty": None, "max_length": None}):
        found = decoding_defaults(config)
        assert (found.beam_size, found.length_penalty, found.max_length) == (1, 1.0, None)
    assert decoding_defaults({"max_new_tokens": 40, "max_length": 9}).max_length == 41


def test_generation_config_alone_decides_where_there_is_one(lab: Any) -> None:
    _, base = published(lab, "marian")
    config = json.loads((base.folder / "config.json").read_text()) | {"num_beams": 9}
    (base.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert Base("random", base.folder).architecture.decoding.beam_size == 6
    (base.folder / "generation_config.json").unlink()
    assert Base("random", base.folder).architecture.decoding.beam_size == 9


def test_an_unknown_early_stopping_of_a_request_is_refused() -> None:
    with pytest.raises(DecodingError, match="early_stopping"):
        DecodingOptions(early_stopping="soon").validate()  # type: ignore[arg-type]
