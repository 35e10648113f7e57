"""What the engine promises, on a real GPU: parity, graphs against eager, rows of their own.

Run with `pytest -m gpu`. REHEARSE_GPU_TESTS=1 runs the same code on the CPU, where it shows that
the tests themselves work and nothing about a GPU.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
import torch

from hub.engine.engine import Engine
from hub.engine.requests import DecodeRequest, DecodingOptions, Finished
from hub.engine.shortlists import Shortlist

from . import kinds

REHEARSAL = os.environ.get("REHEARSE_GPU_TESTS") == "1"
DEVICE = "cpu" if REHEARSAL else "cuda"
GREEDY = DecodingOptions(max_new_tokens=20)
BEAM = DecodingOptions(beam_size=4, max_new_tokens=12, num_hypotheses=2)
FAMILIES = ("m2m_100", "mbart", "bart", "marian", "t5", "t5_gated", "mt5")

TOKEN_ROWS = (20, 21, 22)
"""Slots whose adapters have rows of the token table, two of them beside another kind."""
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.02, "float16": 3e-3, "nf4": 0.02, "bnb-int8": 0.02}
"""How far logits may lie from those of a base with the same rows, relative to their norm."""

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not REHEARSAL and not torch.cuda.is_available(), reason="there is no CUDA GPU"
    ),
]


def outputs(found: list[Finished]) -> list[list[tuple[int, ...]]]:
    assert all(one.error is None for one in found)
    return [[hypothesis.token_ids for hypothesis in one.hypotheses] for one in found]


def scores(found: list[Finished]) -> list[list[float]]:
    return [[hypothesis.log_probability for hypothesis in one.hypotheses] for one in found]


@pytest.fixture(scope="module", autouse=True)
def exact_products() -> Any:
    """Keep float32 products in float32: TF32 has ten bits of mantissa."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_of_every_family_equal_transformers(lab: Any, family: str) -> None:
    model = lab.model(seed=7, family=family)
    engine = lab.engine(lab.base(model), device=DEVICE)
    requests = lab.forced(12, seed=3)
    references = [lab.reference_logits(model, request) for request in requests]
    assert len({tuple(reference.argmax(-1).tolist()) for reference in references}) > 6
    for logits, reference in zip(engine.forced_logits(requests), references, strict=True):
        torch.testing.assert_close(logits.cpu(), reference, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("options", [GREEDY, BEAM], ids=["greedy", "beam"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_decodes_what_the_cpu_decodes(
    lab: Any, family: str, options: DecodingOptions
) -> None:
    base = lab.base(lab.model(seed=3, family=family))
    requests = lab.requests(8, seed=11, options=options, forced_bos=family in ("mbart", "m2m_100"))
    expected = outputs(lab.engine(base).translate(requests))
    assert len({tuple(one[0]) for one in expected}) > 1
    assert outputs(lab.engine(base, device=DEVICE).translate(requests)) == expected


@pytest.mark.parametrize("options", [GREEDY, BEAM], ids=["greedy", "beam"])
def test_every_kind_of_adapter_decodes_what_the_cpu_decodes(
    lab: Any, zoo: Any, options: DecodingOptions
) -> None:
    requests = lab.requests(2 * len(zoo.slots), seed=6, options=options, slots=zoo.slots)
    expected = outputs(zoo.engine(lab, "float32").translate(requests))
    plain = [lab.requests(len(requests), seed=6, options=options)[one.key] for one in requests]
    without = outputs(zoo.engine(lab, "float32").translate(plain))
    assert sum(a != b for a, b in zip(expected, without, strict=True)) > len(zoo.slots)
    assert outputs(zoo.engine(lab, "float32", device=DEVICE).translate(requests)) == expected


@pytest.mark.parametrize("quantization", TOLERANCE)
def test_rows_of_the_token_table_equal_a_base_with_them_in_its_table(
    lab: Any, model: Any, base: Any, quantization: str
) -> None:
    folder = kinds.tokens(lab, model, 4, (71, 2, 9, 40, 100, 12))
    engine = lab.engine(base, quantization, device=DEVICE)
    engine.place(3, engine.read_adapter(folder))
    whole = lab.engine(kinds.with_table(lab, model, folder), quantization, device=DEVICE)
    forced = lab.forced(8, seed=5)
    own = engine.forced_logits([replace(one, slot=3) for one in forced])
    plain, expected = engine.forced_logits(forced), whole.forced_logits(forced)
    for found, other, without in zip(own, expected, plain, strict=True):
        assert (other - without).norm() / other.norm() > 5 * TOLERANCE[quantization]
        assert (found - other).norm() / other.norm() < TOLERANCE[quantization]


def with_lists_and_terms(requests: list[DecodeRequest]) -> list[DecodeRequest]:
    """Every second one chooses from a list without some own tokens, every third has a term."""
    listed = Shortlist(range(0, 120, 2))
    return [
        replace(
            one,
            shortlist=listed if one.key % 2 else None,
            constraints=(((40, 9),),) if one.key % 3 == 2 and one.options.beam_size > 1 else (),
        )
        for one in requests
    ]


@pytest.mark.parametrize("options", [GREEDY, BEAM], ids=["greedy", "beam"])
def test_rows_of_the_token_table_decode_what_the_cpu_decodes(
    lab: Any, zoo: Any, options: DecodingOptions
) -> None:
    """Beside rows without, from shortlists, and with terms spelled in own tokens."""
    requests = with_lists_and_terms(lab.requests(16, 9, options, slots=(*TOKEN_ROWS, 0)))
    expected = outputs(zoo.engine(lab, "float32").translate(requests))
    bare = [replace(one, slot=0) for one in requests]
    without = outputs(zoo.engine(lab, "float32").translate(bare))
    changed = [a != b for a, b in zip(expected, without, strict=True)]
    assert sum(changed) > 8
    assert not any(changed[3::4])
    assert outputs(zoo.engine(lab, "float32", device=DEVICE).translate(requests)) == expected


@pytest.mark.parametrize("quantization", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("options", [GREEDY, BEAM], ids=["greedy", "beam"])
def test_graphs_give_the_bits_of_the_padded_eager_step(
    lab: Any, zoo: Any, quantization: str, options: DecodingOptions
) -> None:
    if REHEARSAL:
        pytest.skip("CUDA graphs exist on a GPU alone")
    requests = lab.requests(9, 6, options, zoo.gathered)
    engine: Engine = zoo.engine(lab, quantization, device=DEVICE)
    first = engine.translate(requests)  # shapes that are new run uncaptured
    assert engine._graphs is not None
    for _ in range(3):
        again = engine.translate(requests)
    assert engine._graphs.captured > 0
    assert outputs(again) == outputs(first)
    assert scores(again) == scores(first)


@pytest.mark.parametrize("quantization", ["bfloat16", "float16"])
@pytest.mark.parametrize("options", [GREEDY, BEAM], ids=["greedy", "beam"])
def test_mixed_rows_get_the_bits_that_they_get_alone(
    lab: Any, zoo: Any, quantization: str, options: DecodingOptions
) -> None:
    """Row isolation, compared bit by bit, for the kinds that run in fixed shapes."""
    engine = zoo.engine(lab, quantization, device=DEVICE)
    requests = lab.requests(3 * len(zoo.gathered), seed=8, options=options, slots=zoo.gathered)
    alone = lab.alone(engine, requests)
    mixed = engine.translate(requests)
    assert outputs(mixed) == outputs(alone)
    assert scores(mixed) == scores(alone)


def test_the_gpu_holds_what_the_engine_says(lab: Any, base: Any) -> None:
    if REHEARSAL:
        pytest.skip("GPU memory exists on a GPU alone")
    before = torch.cuda.memory_allocated()
    engine = lab.engine(base, "bfloat16", device=DEVICE)
    assert engine.device.type == "cuda"
    assert engine.device_bytes > before
