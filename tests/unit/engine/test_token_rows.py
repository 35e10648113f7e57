"""Rows of the token table: a row with them computes what a base with them in its table computes."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hub.engine import engine as engine_room
from hub.engine import int8
from hub.engine.engine import Engine
from hub.engine.forms import flatten, restore
from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.engine.shortlists import Shortlist
from hub.errors import AdapterBindingError, IncompatibleAdapterError

from . import kinds

SLOT = 3
IDS = (71, 2, 9, 40, 100, 12)
DELTA = "base_model.model.model.shared.trainable_tokens_delta"


def on_slot(requests: Sequence[DecodeRequest], slot: int) -> list[DecodeRequest]:
    return [replace(request, slot=slot) for request in requests]


@pytest.fixture(params=["float32", "bfloat16", "int8", "portable int8"])
def numbers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every precision; int8 without the compiled kernels too."""
    if request.param.startswith("portable"):
        portable = int8.Int8Precision(compiled=False, arena=None)
        monkeypatch.setattr(engine_room, "find_precision", lambda *_: portable)
        return "int8"
    return str(request.param)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_row_computes_what_a_base_with_these_rows_computes(
    lab: Any, model: Any, base: Any, numbers: str, seed: int
) -> None:
    """To the bit, with 8-bit numbers too: they are quantized row by row."""
    folder = kinds.tokens(lab, model, seed, IDS)
    engine = lab.engine(base, numbers)
    engine.place(SLOT, engine.read_adapter(folder))
    whole = lab.engine(kinds.with_table(lab, model, folder), numbers)
    forced = lab.forced(8, seed=seed)
    found = engine.forced_logits(on_slot(forced, SLOT))
    for own, expected, plain in zip(
        found, whole.forced_logits(forced), engine.forced_logits(forced), strict=True
    ):
        assert (expected - plain).abs().max() > 0.1
        torch.testing.assert_close(own, expected, atol=1e-6, rtol=1e-6)
    for options in (DecodingOptions(max_new_tokens=10), DecodingOptions(4, 10)):
        requests = lab.requests(6, seed=seed + 5, options=options)
        own_texts = [one.hypotheses for one in engine.translate(on_slot(requests, SLOT))]
        assert own_texts != [one.hypotheses for one in engine.translate(requests)]
        for mine, other in zip(own_texts, whole.translate(requests), strict=True):
            assert [one.token_ids for one in mine] == [one.token_ids for one in other.hypotheses]


ALONE = [("m2m_100", False), ("mbart", False), ("bart", False), ("t5", False)]
"""PEFT 0.21 wraps Marian's embedding twice, and its forward pass fails."""


@pytest.mark.parametrize(
    ("family", "beside"), [*ALONE, *((name, True) for name, _ in ALONE), ("marian", True)]
)
def test_every_tied_family_equals_peft(lab: Any, family: str, beside: bool) -> None:
    model = lab.model(seed=4, family=family)
    if beside:
        targets = ["q", "v"] if family == "t5" else ["q_proj", "v_proj"]
        folder = lab.lora(
            model, 5, targets=targets, magnitude=0.2, trainable_token_indices=list(IDS)
        )
    else:
        folder = kinds.tokens(lab, model, 3, IDS)
    engine = lab.engine(lab.base(model))
    engine.place(SLOT, engine.read_adapter(folder))
    forced = lab.forced(4, seed=8, slots=(SLOT,))
    plain = engine.forced_logits(on_slot(forced, 0))
    with lab.applied(model, folder) as reference:
        for request, own, base in zip(forced, engine.forced_logits(forced), plain, strict=True):
            expected = lab.reference_logits(reference, request)
            torch.testing.assert_close(own, expected, atol=2e-4, rtol=1e-4)
            assert (own - base).abs().max() > 0.1


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_a_shortlist_leaves_out_columns_and_changes_none(
    lab: Any, zoo: Any, quantization: str
) -> None:
    """Rows of several adapters that share a list, whose tokens are only partly on it."""
    engine = zoo.engine(lab, quantization)
    listed = Shortlist(range(0, 120, 2))
    requests = [
        replace(one, shortlist=listed)
        for one in lab.requests(12, 7, DecodingOptions(max_new_tokens=8), slots=(20, 21, 22, 0))
    ]
    rules = DecodingOptions(max_new_tokens=8, bad_words=tuple(range(1, 120, 2)))
    unlisted = [replace(one, shortlist=None, options=rules) for one in requests]
    for own, other in zip(engine.translate(requests), engine.translate(unlisted), strict=True):
        assert own.hypotheses[0].token_ids == other.hypotheses[0].token_ids


def test_terms_are_forced_and_scored_with_own_rows(lab: Any, model: Any, base: Any) -> None:
    folder = kinds.tokens(lab, model, 5, IDS)
    whole = lab.engine(kinds.with_table(lab, model, folder), "int8")
    engine = lab.engine(base, "int8")
    engine.place(SLOT, engine.read_adapter(folder))
    options = DecodingOptions(beam_size=4, max_new_tokens=10)
    requests = [
        replace(one, constraints=(((40, 100),), ((9,),)))
        for one in lab.requests(4, 9, options=options)
    ]
    expected = [one.hypotheses for one in whole.translate(requests)]
    found = [one.hypotheses for one in engine.translate(on_slot(requests, SLOT))]
    assert found == expected
    assert all({9, 40, 100} <= {*one[0].token_ids} for one in found)


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_rows_beside_keep_their_bits(lab: Any, zoo: Any, quantization: str) -> None:
    """Rows of the plain base and of other kinds, beside rows with rows of the table."""
    engine: Engine = zoo.engine(lab, quantization)
    alone = zoo.engine(lab, quantization)
    for slot in (20, 21, 22):
        alone.clear(slot)
    requests = lab.forced(18, seed=4, slots=(0, 20, 1, 21, 10, 22))
    found = engine.forced_logits(requests)
    others = [one for one in requests if one.slot < 20]
    for request, logits in zip(others, alone.forced_logits(others), strict=True):
        assert torch.equal(found[request.key], logits)


def test_bytes_that_are_own_rows_form_characters(lab: Any, model: Any, base: Any) -> None:
    """Rows inside a character are ranked apart; half of the byte pieces are the adapter's own."""
    spelt = bytes(range(0xB0, 0xC0)) + "é한😀".encode()
    pieces = SimpleNamespace(byte_ids={40 + n: byte for n, byte in enumerate(sorted({*spelt}))})
    folder = kinds.tokens(lab, model, 8, tuple(range(40, 70, 2)), magnitude=1.5)
    engine = lab.engine(base, "int8", tokenizer=pieces)
    engine.place(SLOT, engine.read_adapter(folder))
    whole = lab.engine(kinds.with_table(lab, model, folder), "int8", tokenizer=pieces)
    bytewise = 0
    for options in (DecodingOptions(max_new_tokens=12), DecodingOptions(3, 12)):
        requests = lab.requests(10, 6, options=options)
        mixed = [replace(one, slot=one.key % 2 * SLOT) for one in requests]
        plain = engine.translate(on_slot(requests, 0))
        expected = whole.translate(requests)
        for request, found in zip(mixed, engine.translate(mixed), strict=True):
            reference = expected if request.slot else plain
            assert found.hypotheses == reference[request.key].hypotheses
            bytewise += bool({*found.hypotheses[0].token_ids} & pieces.byte_ids.keys())
    assert bytewise > 5


def test_rules_and_own_rows_are_told_apart_in_one_batch(lab: Any, zoo: Any) -> None:
    """Rows with rules are ranked apart: each must find its own columns again."""
    engine = zoo.engine(lab, "int8")
    chance = random.Random(2)
    requests = [
        replace(
            request,
            options=DecodingOptions(
                max_new_tokens=9, no_repeat_ngram_size=chance.choice([None, 2])
            ),
        )
        for request in lab.requests(20, 3, DecodingOptions(), slots=(20, 0, 21, 22))
    ]
    alone = [engine.translate([request])[0].hypotheses for request in requests]
    assert [one.hypotheses for one in engine.translate(requests)] == alone


def test_the_served_form_comes_back_from_bytes(
    lab: Any, model: Any, base: Any, numbers: str
) -> None:
    engine = lab.engine(base, numbers)
    adapter = engine.read_adapter(kinds.tokens(lab, model, 6, IDS))
    form, data = flatten(adapter)
    again = restore(form, data)
    assert again.token_rows is not None
    assert torch.equal(again.token_rows.values, adapter.token_rows.values)
    assert adapter.parameters == len(IDS) * 32
    assert adapter.nbytes >= len(IDS) * 32
    request = lab.forced(1, seed=3, slots=(SLOT,))
    engine.place(SLOT, adapter)
    expected = engine.forced_logits(request)[0]
    engine.place(SLOT, again)
    data.fill_(7)  # the memory is another adapter's now
    assert torch.equal(engine.forced_logits(request)[0], expected)
    assert engine.adapter_bytes == adapter.nbytes
    engine.clear(SLOT)
    assert engine.adapter_bytes == 0


Change = Callable[[dict[str, Any], dict[str, Tensor]], object]
COPY = "base_model.model.lm_head.trainable_tokens_delta"
REFUSED: dict[str, tuple[Change, type[Exception], str]] = {
    "a list that is none": (
        lambda config, tensors: config.update(token_indices="all"),
        IncompatibleAdapterError, "expected a list of token ids",
    ),
    "a token twice": (
        lambda config, tensors: config.update(token_indices=[2, 2, 9, 40, 100, 12]),
        IncompatibleAdapterError, "names a token twice",
    ),
    "a token that the base has not": (
        lambda config, tensors: config.update(token_indices=[2, 120, 9, 40, 100, 12]),
        IncompatibleAdapterError, "names token 120, the base has 0 to 119",
    ),
    "too few rows": (
        lambda config, tensors: tensors.update({DELTA: tensors[DELTA][:3].clone()})
        or [tensors.pop(name) for name in list(tensors) if name != DELTA],
        AdapterBindingError, r"has shape \(3, 32\), the base needs \(6, 32\)",
    ),
    "no rows of the input embedding": (
        lambda config, tensors: tensors.pop(DELTA),
        AdapterBindingError, "is missing",
    ),
    "another module": (
        lambda config, tensors: config.update(target_modules=["lm_head"]),
        IncompatibleAdapterError, "leaves out the input embedding model.shared",
    ),
    "an output of its own": (
        lambda config, tensors: tensors.update({COPY: tensors[COPY] + 1}),
        AdapterBindingError, "differs from that of model.shared",
    ),
    "something else beside": (
        lambda config, tensors: tensors.update({"base_model.model.x": torch.ones(2)}),
        AdapterBindingError, "binds to no site",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_whole_is_refused(
    lab: Any, model: Any, base: Any, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(kinds.tokens(lab, model, 7, IDS), tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    engine = lab.engine(base)
    engine.read_adapter(folder)
    change, error, says = REFUSED[name]
    change(config, tensors)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(error, match=says):
        engine.read_adapter(folder)


def test_a_base_with_an_output_of_its_own_is_refused(lab: Any) -> None:
    model = lab.model(seed=1, family="t5_gated")
    engine = lab.engine(lab.base(model))
    folder = lab.lora(model, 2, targets=["q"], trainable_token_indices=[5, 6])
    with pytest.raises(IncompatibleAdapterError, match="output of this base is a table of its own"):
        engine.read_adapter(folder)
