"""What tokens attend to, and what each of them was worth: as transformers has it."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from hub.engine.alignment import CrossQueries, alignment_layer
from hub.engine.engine import Engine
from hub.engine.graphs import GraphRunner
from hub.engine.requests import DecodeRequest, DecodingOptions, Hypothesis
from hub.engine.search import UNREACHED

from .test_graphs import FakeCapture, needs_gpu

FAMILIES = ["m2m_100", "marian", "t5", "mbart"]
OPTIONS = [
    DecodingOptions(max_new_tokens=14),
    DecodingOptions(beam_size=4, max_new_tokens=14, num_hypotheses=4),
    DecodingOptions(beam_size=3, max_new_tokens=6, num_hypotheses=2, length_penalty=0.4),
]


def asking(requests: list[DecodeRequest]) -> list[DecodeRequest]:
    return [replace(one, align=True, token_scores=True) for one in requests]


def silent(found: Hypothesis) -> Hypothesis:
    return replace(found, alignment=(), token_log_probabilities=())


def reference(model: Any, request: DecodeRequest) -> list[tuple[list[int], list[float]]]:
    """Each hypothesis' alignment and token log-probabilities, end token included."""
    options, extra = request.options, len(request.prefix_ids)
    beams = options.beam_size > 1
    with torch.no_grad():
        found = model.generate(
            input_ids=torch.tensor([request.source_ids]),
            forced_bos_token_id=request.prefix_ids[0] if extra else None,
            num_beams=options.beam_size,
            max_new_tokens=options.max_new_tokens + extra,
            length_penalty=options.length_penalty if beams else None,
            num_return_sequences=options.num_hypotheses,
            early_stopping=False if beams else None,
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=True,
            output_attentions=True,
        )
    origins = found.beam_indices if beams else torch.zeros_like(found.sequences)
    scores = model.compute_transition_scores(
        found.sequences, found.scores, origins if beams else None, normalize_logits=not beams
    )
    layer = alignment_layer(model.config.num_hidden_layers if not hasattr(
        model.config, "decoder_layers") else model.config.decoder_layers)  # fmt: skip
    end = model.generation_config.eos_token_id
    results = []
    for row, tokens in enumerate(found.sequences[:, 1:].tolist()):
        length = tokens.index(end) + 1 if end in tokens[extra:] else len(tokens)
        steps = range(extra, length)
        weights = [
            found.cross_attentions[step][layer][int(origins[row, step]), :, -1] for step in steps
        ]
        attended = [int(one.mean(0).argmax()) for one in weights]
        results.append((attended, [float(scores[row, step]) for step in steps]))
    return results


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_alignment_and_scores_equal_transformers(
    lab: Any, family: str, options: DecodingOptions
) -> None:
    model = lab.model(seed=3, family=family, attn_implementation="eager")
    engine = lab.engine(lab.base(model))
    forced = family in ("m2m_100", "mbart")
    requests = asking(lab.requests(6, seed=13, options=options, forced_bos=forced))
    model = copy.deepcopy(model)
    model.set_attn_implementation("eager")
    places = set()
    for request, finished in zip(requests, engine.translate(requests), strict=True):
        expected = reference(model, request)
        assert len(finished.hypotheses) == len(expected)
        for one, (attended, scores) in zip(finished.hypotheses, expected, strict=True):
            assert list(one.alignment) == attended[: len(one.token_ids)]
            assert one.token_log_probabilities == pytest.approx(scores, abs=1e-4)
            assert sum(one.token_log_probabilities) == pytest.approx(one.log_probability, abs=1e-4)
            places |= set(one.alignment)
    assert len(places) >= 4


@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("quantization", ["float32", "bfloat16", "int8"])
def test_asking_changes_nobody_and_company_changes_no_alignment(
    lab: Any, zoo: Any, quantization: str, beam: int
) -> None:
    """Every kind of adapter, prefixes of cross-attention among them."""
    options = DecodingOptions(beam_size=beam, max_new_tokens=10, num_hypotheses=beam)
    requests = lab.requests(len(zoo.slots), 6, options, zoo.slots)
    plain = zoo.engine(lab, quantization).translate(requests)
    mixed = [asking([one])[0] if one.key % 2 else one for one in requests]
    together = zoo.engine(lab, quantization, max_rows=24).translate(mixed)
    alone = lab.alone(zoo.engine(lab, quantization), asking(requests))
    for request, without, beside, by_itself in zip(requests, plain, together, alone, strict=True):
        assert [silent(one) for one in by_itself.hypotheses] == list(without.hypotheses)
        assert [silent(one) for one in beside.hypotheses] == list(without.hypotheses)
        if request.key % 2:
            assert beside.hypotheses == by_itself.hypotheses
        for one in by_itself.hypotheses:
            assert len(one.alignment) == len(one.token_ids)
            assert len(one.token_log_probabilities) == len(one.token_ids) + one.finished
            assert all(0 <= place < len(request.source_ids) for place in one.alignment)


def test_prefixes_of_an_adapter_are_no_source_tokens(lab: Any, zoo: Any) -> None:
    """The weights of real source tokens are those of PEFT's model without the prefix's columns."""
    engine = zoo.engine(lab, "float32")
    options = DecodingOptions(max_new_tokens=8)
    slots = [slot for slot in zoo.slots if slot and engine._banks.prefixes(slot).source_length]
    assert slots
    requests = asking(lab.requests(4, 9, options, slots))
    for request, finished in zip(requests, engine.translate(requests), strict=True):
        (own,) = finished.hypotheses
        expected = by_hand(engine, request, own.token_ids)
        assert list(own.alignment) == expected


def by_hand(engine: Engine, request: DecodeRequest, tokens: tuple[int, ...]) -> list[int]:
    """Run along a forced target and compute every weight in float64, one head after the other."""
    prefix = (*request.prefix_ids, *tokens)
    forced = replace(
        request, prefix_ids=prefix, options=DecodingOptions(max_new_tokens=1), align=False
    )
    layer = alignment_layer(engine.architecture.decoder_layers)
    ahead = engine._banks.prefixes(request.slot).source_length
    found: list[int] = []
    watched = CrossQueries(engine.architecture)
    engine.admit([forced])
    while engine.running:
        decode = engine._model.decode

        def keep(step: Any, adapters: Any, queries: Any, decode: Any = decode) -> Any:
            return decode(step, adapters, watched)

        object.__setattr__(engine._model, "decode", keep)
        engine.step()
        object.__delattr__(engine._model, "decode")
        (lane,) = (lane for lane, _ in engine._rows._lanes.values() if lane.width == 1)
        keys = lane.cross_kv[layer, 0, 0, :, : ahead + len(request.source_ids)].double()
        assert watched.projected is not None
        query = watched.projected[0].double().view(keys.shape[0], -1)
        total = torch.zeros(keys.shape[1], dtype=torch.float64)
        for head in range(keys.shape[0]):
            products = torch.stack([key @ query[head] * lane.scale for key in keys[head]])
            total += (
                torch.exp(products - products.max()) / torch.exp(products - products.max()).sum()
            )
        found.append(int(total[ahead:].argmax()))
    skipped = len(request.prefix_ids)
    return found[skipped : skipped + len(tokens)]


def test_nothing_is_computed_for_nobody(
    lab: Any, base: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = lab.engine(base)
    options = DecodingOptions(max_new_tokens=4)

    def fail(*_: object) -> None:
        raise AssertionError("somebody computed an alignment")

    monkeypatch.setattr("hub.engine.rows.attended_tokens", fail)
    found = engine.translate(lab.requests(2, 1, options))
    assert all(one.alignment == () for finished in found for one in finished.hypotheses)
    with pytest.raises(AssertionError, match="somebody"):
        engine.translate(asking(lab.requests(1, 1, options)))


@pytest.mark.parametrize("beam", [1, 4])
def test_graphs_give_the_same_alignment(lab: Any, zoo: Any, beam: int) -> None:
    options = DecodingOptions(beam_size=beam, max_new_tokens=10, num_hypotheses=beam)
    requests = asking(lab.requests(8, 6, options, zoo.gathered[:4]))
    plain = zoo.engine(lab, "float32").translate(requests)
    engine = zoo.engine(lab, "float32", capture=FakeCapture())
    runner = GraphRunner(engine._model, engine._banks, engine._graphs._capture, after=1)
    engine._graphs = runner
    graphed = engine.translate(requests)
    assert runner.captured
    for one, other in zip(plain, graphed, strict=True):
        assert [h.alignment for h in one.hypotheses] == [h.alignment for h in other.hypotheses]
        assert [h.token_ids for h in one.hypotheses] == [h.token_ids for h in other.hypotheses]


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("beam", [1, 4])
def test_cuda_graphs_give_the_alignment_of_eager_steps(lab: Any, zoo: Any, beam: int) -> None:
    options = DecodingOptions(beam_size=beam, max_new_tokens=20)
    requests = asking(lab.requests(9, 6, options, zoo.gathered))
    engine = zoo.engine(lab, "float32", device="cuda")
    plain = zoo.engine(lab, "float32", device="cuda")
    plain._graphs = None
    expected = [one.hypotheses[0].alignment for one in plain.translate(requests)]
    for _ in range(2):
        found = [one.hypotheses[0].alignment for one in engine.translate(requests)]
        assert found == expected
    assert engine._graphs is not None
    assert engine._graphs.captured > 0


def test_token_scores_of_a_narrow_vocabulary_are_numbers(lab: Any) -> None:
    """Beams that no hypothesis holds have a score of their own, which is no log-probability."""
    model = lab.model(seed=2)
    engine = lab.engine(lab.base(model))
    bad = tuple(range(4, 117))
    options = DecodingOptions(beam_size=4, max_new_tokens=6, num_hypotheses=4, bad_words=bad)
    (finished,) = engine.translate(asking(lab.requests(1, 3, options)))
    for one in finished.hypotheses:
        assert sum(one.token_log_probabilities) == pytest.approx(one.log_probability, abs=1e-3)
        assert all(-math.inf < value <= 0.0 for value in one.token_log_probabilities)
        assert one.log_probability > UNREACHED / 2
