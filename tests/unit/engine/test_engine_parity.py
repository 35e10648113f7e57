"""The engine computes what transformers and PEFT compute."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import pytest
import torch

from hub.bases import open_base
from hub.engine.requests import DecodingOptions

CONFIGS: list[dict[str, Any]] = [
    {},
    {"d_model": 24, "encoder_attention_heads": 3, "decoder_attention_heads": 1, "vocab_size": 131},
    {"activation_function": "gelu", "scale_embedding": False, "encoder_layers": 1},
    {
        "encoder_layers": 3,
        "decoder_layers": 1,
        "encoder_ffn_dim": 40,
        "max_position_embeddings": 64,
    },
    {"vocab_size": 1000, "d_model": 64, "decoder_attention_heads": 4},
]


@pytest.mark.parametrize("config", CONFIGS)
def test_logits_equal_transformers(lab: Any, config: dict[str, Any]) -> None:
    model = lab.model(seed=7, **config)
    engine = lab.engine(lab.base(model))
    requests = lab.forced(12, seed=3)
    references = [lab.reference_logits(model, request) for request in requests]
    assert len({tuple(reference.argmax(-1).tolist()) for reference in references}) > 6

    for logits, reference in zip(engine.forced_logits(requests), references, strict=True):
        torch.testing.assert_close(logits, reference, atol=1e-4, rtol=1e-5)


OPTIONS = [
    DecodingOptions(max_new_tokens=24),
    DecodingOptions(max_new_tokens=5, min_new_tokens=3),
    DecodingOptions(beam_size=4, max_new_tokens=24),
    DecodingOptions(beam_size=4, max_new_tokens=30, length_penalty=0.4, num_hypotheses=4),
    DecodingOptions(beam_size=5, max_new_tokens=12, length_penalty=2.0, num_hypotheses=3),
    DecodingOptions(beam_size=5, max_new_tokens=16, min_new_tokens=8, num_hypotheses=5),
    DecodingOptions(beam_size=5, max_new_tokens=1, length_penalty=-0.5),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_decoding_equals_generate(lab: Any, model: Any, base: Any, options: Any) -> None:
    engine = lab.engine(base)
    requests = lab.requests(6, seed=11, options=options)
    references = [lab.reference_output(model, request) for request in requests]
    assert len({reference[0][0] for reference in references}) >= 3

    for finished, reference in zip(engine.translate(requests), references, strict=True):
        assert finished.error is None
        assert [one.token_ids for one in finished.hypotheses] == [ids for ids, _ in reference]
        for one, (_, score) in zip(finished.hypotheses, reference, strict=True):
            if score is not None:
                assert one.score == pytest.approx(score, abs=1e-4)


def test_some_hypotheses_end_and_some_are_cut(lab: Any, base: Any) -> None:
    """The comparison above is worth something only if both kinds are in it."""
    engine = lab.engine(base)
    for options in (DecodingOptions(max_new_tokens=24), OPTIONS[3]):
        found = engine.translate(lab.requests(12, seed=11, options=options))
        ends = {one.finished for finished in found for one in finished.hypotheses}
        assert ends == {True, False}
        for finished in found:
            for one in finished.hypotheses:
                length = 1 + len(one.token_ids) + one.finished
                assert one.score == pytest.approx(
                    one.log_probability / length**options.length_penalty
                )


def test_adapters_act_and_differ(lab: Any, zoo: Any) -> None:
    """Proof for every later comparison: on one source, every slot gives other logits."""
    engine = zoo.engine(lab, "float32")
    request = lab.forced(1, seed=21)[0]
    logits = engine.forced_logits([replace(request, key=slot, slot=slot) for slot in zoo.slots])
    for first in zoo.slots:
        for second in range(first):
            assert (logits[first] - logits[second]).abs().max() > 0.1


def test_mixed_batch_equals_peft_and_hooks(lab: Any, zoo: Any) -> None:
    engine = zoo.engine(lab, "float32")
    requests = lab.forced(40, seed=5, slots=zoo.slots)
    logits = engine.forced_logits(requests)
    for slot in zoo.slots:
        with lab.applied(zoo.model, zoo.folder(slot)) as reference:
            for request, own in zip(requests, logits, strict=True):
                if request.slot == slot:
                    expected = lab.reference_logits(reference, request)
                    torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("beam", [1, 4])
def test_mixed_decoding_equals_peft_and_hooks(lab: Any, zoo: Any, beam: int) -> None:
    engine = zoo.engine(lab, "float32", max_rows=12 * beam)
    options = DecodingOptions(beam_size=beam, max_new_tokens=14)
    requests = lab.requests(20, seed=6, options=options, slots=zoo.slots)
    found = engine.translate(requests)
    for slot in zoo.slots:
        with lab.applied(zoo.model, zoo.folder(slot)) as reference:
            for request, finished in zip(requests, found, strict=True):
                if request.slot == slot:
                    expected, _ = lab.reference_output(reference, request)[0]
                    assert finished.hypotheses[0].token_ids == expected


@pytest.mark.parametrize(
    ("options", "targets"),
    [
        ({"rank_pattern": {"q_proj": 7}, "alpha_pattern": {"layers.1.fc1": 3}}, ("q_proj", "fc1")),
        ({"alpha_pattern": {"encoder_attn.k_proj": 9}, "use_rslora": True}, ("k_proj", "out_proj")),
        ({"layers_to_transform": [1], "layers_pattern": "layers"}, ("v_proj", "fc2")),
    ],
)  # fmt: skip
def test_lora_variants_equal_peft(
    lab: Any, model: Any, base: Any, options: dict[str, Any], targets: tuple[str, ...]
) -> None:
    folder = lab.lora(model, seed=9, targets=targets, **options)
    engine = lab.engine(base)
    engine.place(3, engine.read_adapter(folder))
    requests = lab.forced(4, seed=8, slots=(3,))
    plain = engine.forced_logits([replace(request, slot=0) for request in requests])
    with lab.applied(model, folder) as reference:
        for request, own, base_logits in zip(
            requests, engine.forced_logits(requests), plain, strict=True
        ):
            assert (own - base_logits).abs().max() > 0.1
            expected = lab.reference_logits(reference, request)
            torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("quantization", "bound"), [("bfloat16", 0.03), ("int8", 0.05)])
def test_quantized_logits_stay_close(lab: Any, zoo: Any, quantization: str, bound: float) -> None:
    """Median relative error of the logits, over the base and adapters of both kinds."""
    requests = lab.forced(40, seed=2, slots=zoo.slots)
    exact = zoo.engine(lab, "float32").forced_logits(requests)
    near = zoo.engine(lab, quantization).forced_logits(requests)
    errors = [
        float((own - reference).norm() / reference.norm())
        for own, reference in zip(near, exact, strict=True)
    ]
    assert min(errors) > 0
    assert statistics.median(errors) < bound


def test_embedded_base_equals_transformers(lab: Any) -> None:
    base = open_base("embedded")
    from transformers import M2M100ForConditionalGeneration

    model = M2M100ForConditionalGeneration.from_pretrained(base.folder, dtype=torch.float32).eval()
    engine = lab.engine(base)
    requests = lab.forced(4, seed=1, longest=25)
    for logits, request in zip(engine.forced_logits(requests), requests, strict=True):
        torch.testing.assert_close(logits, lab.reference_logits(model, request), atol=1e-4, rtol=0)
    for beam in (1, 4):
        options = DecodingOptions(beam_size=beam, max_new_tokens=12)
        for request in lab.requests(2, seed=3, options=options):
            [finished] = engine.translate([request])
            expected, _ = lab.reference_output(model, request)[0]
            assert finished.hypotheses[0].token_ids == expected
