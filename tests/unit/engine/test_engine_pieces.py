"""Search, products, caches and checkpoints, each against arithmetic from outside."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hub.engine import native
from hub.engine.cache import Lane, length_mask
from hub.engine.int8 import Int8Precision, padded_rows, quantize_weight
from hub.engine.linear import FloatPrecision
from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.engine.search import (
    NO_EARLY_ROWS,
    BeamSearch,
    Candidate,
    EarlyRows,
    GreedySearch,
    best_candidates,
    likeliest,
)
from hub.errors import BaseNotFoundError, CorruptBaseError, DecodingError

EOS = 2


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 0},
        {"beam_size": 65},
        {"beam_size": -1},
        {"max_new_tokens": 0},
        {"max_new_tokens": 5000},
        {"min_new_tokens": -1},
        {"min_new_tokens": 129},
        {"num_hypotheses": 0},
        {"beam_size": 3, "num_hypotheses": 4},
        {"length_penalty": math.nan},
        {"length_penalty": math.inf},
        {"length_penalty": 11.0},
    ],
    ids=str,
)
def test_options_out_of_range_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(DecodingError) as caught:
        DecodingOptions(**options).validate()
    assert caught.value.field == list(options)[-1]
    assert str(list(options.values())[-1]) in caught.value.message


def test_options_at_their_limits_are_taken() -> None:
    options = DecodingOptions(64, 4096, 4096, -10.0, 64)
    assert options.validate() is options


def test_greedy_takes_the_best_and_counts() -> None:
    logits = torch.tensor([[0.0, 1.0, 3.0, 2.0], [5.0, 1.0, 3.0, 2.0]])
    values, tokens = likeliest(logits.clone(), 1, NO_EARLY_ROWS)
    assert tokens.tolist() == [[2], [0]]
    expected = 3 - math.log(1 + math.e + math.e**3 + math.e**2)
    assert values[0].item() == pytest.approx(expected, abs=1e-6)
    values, tokens = likeliest(logits.clone(), 1, EarlyRows([0], [2]))
    assert tokens.tolist() == [[3], [0]]
    assert values[0].item() == pytest.approx(expected - 1, abs=1e-6)

    request = DecodeRequest(1, (4,), (5,), 0, DecodingOptions(max_new_tokens=3, length_penalty=2.0))
    search = GreedySearch(request, [EOS])
    assert not search.advance(7, -0.5)
    assert search.advance(EOS, -0.25)
    [found] = search.hypotheses()
    assert (found.token_ids, found.finished, found.log_probability) == ((7,), True, -0.75)
    assert found.score == -0.75 / 3**2


@pytest.mark.parametrize("vocab", [7, 100, 4096, 4097, 8007])
def test_likeliest_is_argmax(vocab: int) -> None:
    values = torch.randn(40, vocab)
    values[0, 0] = values[1, vocab - 1] = values[2, vocab // 2] = 99.0
    found, tokens = likeliest(values.clone(), 1, NO_EARLY_ROWS)
    assert torch.equal(tokens.squeeze(1), values.argmax(-1))
    assert torch.equal(found.squeeze(1), values.log_softmax(-1).amax(-1))


def test_beam_candidates_span_all_beams() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.2, 0.2, 0.1], [0.05, 0.05, 0.1, 0.8]]))
    scores = torch.tensor([[math.log(0.6), math.log(0.4)]])
    [found] = best_candidates(*likeliest(logits, 4, NO_EARLY_ROWS), scores)
    assert [(one.beam, one.token) for one in found][:2] == [(1, 3), (0, 0)]
    assert len(found) == 4
    assert found[0].log_probability == pytest.approx(math.log(0.32), abs=1e-6)
    assert found[1].log_probability == pytest.approx(math.log(0.30), abs=1e-6)


def test_beam_ends_by_the_rules_of_generate() -> None:
    request = DecodeRequest(1, (4,), (), 0, DecodingOptions(beam_size=2, max_new_tokens=9))
    search = BeamSearch(request, [EOS])
    over, beams, tokens = search.advance(
        [Candidate(0, 7, -1.0), Candidate(0, EOS, -1.2), Candidate(0, 8, -2.0), Candidate(0, 9, -3)]
    )
    assert (over, beams, tokens) == (False, [0, 0], [7, 8])
    # An end outside the first two is dropped, and what is open fills the beams.
    over, beams, tokens = search.advance(
        [Candidate(1, 5, -2.1), Candidate(0, 6, -2.2), Candidate(0, EOS, -2.3), Candidate(1, 4, -9)]
    )
    assert (over, beams, tokens) == (False, [1, 0], [5, 6])
    # The second end: best open is -2.4 / 3 = -0.8, worst ended -1.2; still worth going on.
    over, _, _ = search.advance(
        [Candidate(0, 3, -2.4), Candidate(1, EOS, -2.7), Candidate(1, 4, -2.8), Candidate(0, 6, -5)]
    )
    assert not over
    # -6 / 4 = -1.5 cannot beat -1.2 any more.
    over, _, _ = search.advance(
        [Candidate(0, 3, -6.0), Candidate(1, 5, -6.1), Candidate(1, 4, -6.2), Candidate(0, 6, -7)]
    )
    assert over
    best = search.hypotheses()
    assert [one.token_ids for one in best] == [(7, 6)]
    assert best[0].score == -2.7 / 3


@pytest.mark.parametrize("shape", [(32, 48), (256, 100), (100, 33)])
def test_int8_product_is_integer_arithmetic(shape: tuple[int, int]) -> None:
    width, out = shape
    precision = Int8Precision()
    weight, bias, x = torch.randn(out, width), torch.randn(out), torch.randn(70, width)
    x[3] = 0
    linear = precision.linear(weight, bias)
    # All 8 bits where the product is ours; PyTorch's own takes 7 where the CPU has no VNNI.
    quantized, scale = quantize_weight(weight, 127 if native.available() else None)
    assert quantized.abs().max() <= 127
    magnitude = x.abs().amax(1, keepdim=True).clamp_min(1e-30)
    integers = (x * (127 / magnitude)).round().double() @ quantized.double().t()
    expected = (integers * scale.double()) * magnitude.double() + bias.double()
    whole = linear(precision.operand(x))
    torch.testing.assert_close(whole.double(), expected, atol=1e-5, rtol=1e-5)
    error = (whole - (x @ weight.t() + bias)).norm() / (x @ weight.t()).norm()
    assert 0 < error < 0.02
    for rows in (1, 2, 5, 8, 9, 31, 64, 65):
        assert torch.equal(linear(precision.operand(x[:rows])), whole[:rows])


@pytest.mark.parametrize("shape", [(32, 48), (256, 1024), (1024, 256), (64, 1000)])
def test_float_product_is_the_same_bits_for_any_number_of_rows(shape: tuple[int, int]) -> None:
    width, out = shape
    precision = FloatPrecision("float32", torch.float32)
    linear = precision.linear(torch.randn(out, width), torch.randn(out))
    x = torch.randn(150, width)
    whole = linear(precision.operand(x))
    for first, last in ((0, 1), (7, 9), (3, 20), (64, 128), (60, 149)):
        assert torch.equal(linear(precision.operand(x[first:last])), whole[first:last])


def test_few_row_counts_are_run() -> None:
    counts = [padded_rows(n) for n in (1, 4, 8, 9, 64, 65, 256, 257)]
    assert counts == [4, 4, 8, 16, 64, 96, 256, 384]


def test_masks_hide_what_is_behind_the_length() -> None:
    mask = length_mask(torch.tensor([1, 16, 17]), torch.float32)
    assert mask.shape == (3, 1, 1, 32)
    assert mask.isneginf().sum(-1).flatten().tolist() == [31, 16, 15]


def test_a_lane_keeps_each_requests_rows(lab: Any, base: Any) -> None:
    lane = Lane(lab.engine(base).architecture, width=2, dtype=torch.float32)
    for number in range(5):
        index = lane.add(source_length=10 + number, target_length=20 + 30 * number)
        lane.self_kv[:, :, 2 * index : 2 * index + 2] = number + 1
        lane.cross_kv[:, :, index] = number + 1

    def owners() -> list[float]:
        rows = lane.self_kv[0, 1, : 2 * lane.count, 0, 5].amax(1)
        cross = lane.cross_kv[0, 1, : lane.count, 0, 5].amax(1)
        assert rows[::2].tolist() == rows[1::2].tolist() == cross.tolist()
        return cross.tolist()

    assert owners() == [1, 2, 3, 4, 5]
    lane.remove(1)
    assert owners() == [1, 5, 3, 4]
    assert lane.cross_mask().isneginf().sum(-1).flatten().tolist() == [6, 2, 4, 3]
    lane.remove(0, wipe=True)
    assert owners() == [4, 5, 3]
    assert not lane.self_kv[:, :, 6:8].any()
    lane.remove(2)
    lane.self_kv[:, :, 0] = 7
    lane.reorder([0, 0, 2, 3], length=3)
    assert lane.self_kv[0, 0, :4, 0, :4, 0].tolist() == [[7] * 4, [7, 7, 7, 4], [5] * 4, [5] * 4]


def damaged(base: Any, folder: Path, change: Callable[..., object], config: dict[str, Any]) -> Any:
    from hub.bases import Base

    tensors = load_file(base.folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(dict(base.config) | config), encoding="utf-8")
    return Base(name="damaged", folder=folder)


NORM = "model.encoder.layers.0.final_layer_norm.weight"


@pytest.mark.parametrize(
    ("change", "config", "error", "words"),
    [
        (lambda t: t.pop(NORM), {}, CorruptBaseError, f"lacks.*{NORM}"),
        (lambda t: t.update({"model.extra": torch.ones(1)}), {}, CorruptBaseError, "model.extra"),
        (lambda t: t[NORM].fill_(math.nan), {}, CorruptBaseError, f"{NORM}.*not finite"),
        (lambda t: t, {"encoder_ffn_dim": 65}, CorruptBaseError, r"fc1.weight.*\(65, 32\)"),
        (lambda t: t.pop("model.shared.weight"), {}, CorruptBaseError, "model.shared.weight"),
        (lambda t: t, {"d_model": "wide"}, CorruptBaseError, "d_model is 'wide'"),
        (lambda t: t, {"model_type": "gpt2"}, BaseNotFoundError, "'gpt2'"),
        (lambda t: t, {"activation_function": "mish"}, BaseNotFoundError, "'mish'"),
        (lambda t: t, {"tie_word_embeddings": False}, BaseNotFoundError, "tie_word_embeddings"),
    ],
)
def test_a_damaged_base_is_refused(
    lab: Any, base: Any, tmp_path: Path, change: Any, config: Any, error: Any, words: str
) -> None:
    with pytest.raises(error, match=words):
        lab.engine(damaged(base, tmp_path, change, config))


def test_unreadable_weights_are_refused(lab: Any, base: Any, tmp_path: Path) -> None:
    broken = damaged(base, tmp_path, lambda tensors: None, {})
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(CorruptBaseError, match=r"model\.safetensors"):
        lab.engine(broken)
