"""Decode steps in fixed shapes: what is captured when, and that results stay the same.

The fake capture does what a CUDA graph does for its user: it repeats a function that works on
fixed addresses, and its output is always the same tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from hub.engine.devices import CPU
from hub.engine.engine import Engine
from hub.engine.graphs import (
    CAPTURE_AFTER,
    CudaCapture,
    GraphRunner,
    Replay,
    StepShape,
    anchors_of,
    bucket,
    find_capture,
)
from hub.engine.linear import FloatPrecision
from hub.engine.requests import DecodeRequest, DecodingOptions, Finished

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA GPU, and PyTorch finds none"
)


class FakeCapture:
    """Counts captures and replays."""

    def __init__(self) -> None:
        self.captures = 0
        self.replays = 0

    def __call__(self, run: Callable[[], Tensor]) -> Replay:
        self.captures += 1
        output = run().clone()

        def replay() -> Tensor:
            self.replays += 1
            return output.copy_(run())

        return replay


def runner_of(engine: Engine, **options: Any) -> GraphRunner:
    """Give a loaded engine graphs with other numbers than the default."""
    runner = GraphRunner(engine._model, engine._banks, engine._graphs._capture, **options)  # type: ignore[union-attr]
    engine._graphs = runner
    return runner


def graph_engine(lab: Any, zoo: Any, **options: Any) -> tuple[Engine, FakeCapture, GraphRunner]:
    capture = FakeCapture()
    engine = zoo.engine(lab, "float32", capture=capture)
    return engine, capture, runner_of(engine, **options)


def outputs(finished: Sequence[Finished]) -> list[list[tuple[int, ...]]]:
    assert all(one.error is None for one in finished)
    return [[hypothesis.token_ids for hypothesis in one.hypotheses] for one in finished]


def scores(finished: Sequence[Finished]) -> list[float]:
    return [hypothesis.score for one in finished for hypothesis in one.hypotheses]


@pytest.mark.parametrize(("beam", "count"), [(1, 28), (4, 14)])
def test_graphs_decode_what_the_engine_decodes(lab: Any, zoo: Any, beam: int, count: int) -> None:
    options = DecodingOptions(beam_size=beam, max_new_tokens=20, num_hypotheses=beam)
    requests = lab.requests(count, 6, options, zoo.gathered)
    engine, capture, runner = graph_engine(lab, zoo)
    plain = zoo.engine(lab, "float32")
    bare = lab.requests(count, 6, options)
    expected = plain.translate(requests)
    assert outputs(expected) != outputs(plain.translate(bare))
    for _ in range(2):
        found = engine.translate(requests)
        assert outputs(found) == outputs(expected)
        assert scores(found) == pytest.approx(scores(expected), abs=1e-3)
    assert capture.captures >= runner.captured >= 2
    assert capture.replays > 3 * capture.captures


def test_rows_that_come_and_go_decode_as_they_do_alone(lab: Any, zoo: Any) -> None:
    options = DecodingOptions(max_new_tokens=16)
    requests = lab.requests(14, 9, options, zoo.gathered)
    alone = outputs(lab.alone(zoo.engine(lab, "float32"), requests))
    engine, capture, _ = graph_engine(lab, zoo, after=1)
    ended: dict[int, Finished] = {}
    waiting = list(requests)
    while waiting or engine.running:
        if waiting:
            engine.admit([waiting.pop(0)])
        ended.update((one.key, one) for one in engine.step().finished)
        if engine.running and len(waiting) == 6:
            victim = DecodeRequest(99, (5, 6, 7), (8,), 1, options)
            engine.admit([victim])
            ended.update((one.key, one) for one in engine.step().finished)
            engine.cancel([99])
    assert outputs([ended[request.key] for request in requests]) == alone
    assert capture.replays > 10


def test_prefixes_decode_in_graphs(lab: Any, zoo: Any) -> None:
    """Their entries are in the caches, and positions of embeddings differ from those of entries."""
    options = DecodingOptions(max_new_tokens=20)
    requests = lab.requests(8, 6, options, (16, 17, 18, 19))
    engine, capture, runner = graph_engine(lab, zoo, after=1)
    expected = zoo.engine(lab, "float32").translate(requests)
    found = engine.translate(requests)
    assert outputs(found) == outputs(expected)
    assert scores(found) == pytest.approx(scores(expected), abs=1e-3)
    assert outputs(found) != outputs(engine.translate(lab.requests(8, 6, options)))
    assert capture.captures > 0
    assert not any(shape.adapters.uses for shape in runner.shapes)


def test_relative_positions_decode_in_graphs(lab: Any) -> None:
    model = lab.model(seed=3, family="t5")
    base, lora = lab.base(model), lab.lora(model, 2, targets=("q", "v"), magnitude=0.2)
    capture = FakeCapture()
    engine, plain = lab.engine(base, capture=capture), lab.engine(base)
    for one in (engine, plain):
        one.place(1, one.read_adapter(lora))
    for beam in (1, 3):
        options = DecodingOptions(beam_size=beam, max_new_tokens=24, min_new_tokens=18)
        requests = lab.requests(6, 6, options, (0, 1), forced_bos=False)
        expected = plain.translate(requests)
        found = engine.translate(requests)
        assert outputs(found) == outputs(expected)
        assert scores(found) == pytest.approx(scores(expected), abs=1e-3)
    assert capture.replays > 10


@pytest.mark.parametrize("slot", [8, 9, 10, 11, 12, 13])
def test_vectors_run_without_graphs(lab: Any, zoo: Any, slot: int) -> None:
    options = DecodingOptions(max_new_tokens=9)
    requests = lab.requests(4, 6, options, (slot, 2))
    engine, capture, runner = graph_engine(lab, zoo, after=1)
    engine.admit(requests)
    engine.step()
    assert (capture.captures, runner.shapes) == (0, ())
    engine.cancel([request.key for request in requests])
    expected = outputs(zoo.engine(lab, "float32").translate(requests))
    assert outputs(engine.translate(requests)) == expected


def steps_of(engine: Engine, requests: Sequence[DecodeRequest], count: int) -> None:
    engine.admit(requests)
    for _ in range(count):
        engine.step()


def test_a_shape_is_captured_once_it_recurs(lab: Any, zoo: Any) -> None:
    engine, capture, runner = graph_engine(lab, zoo)
    long = DecodingOptions(max_new_tokens=30, min_new_tokens=30)
    steps_of(engine, lab.requests(3, 1, long, (1, 2)), CAPTURE_AFTER - 1)
    (shape,) = runner.shapes
    assert (shape.width, shape.requests, shape.positions) == (1, 4, 16)
    assert (capture.captures, runner.uses[shape]) == (0, CAPTURE_AFTER - 1)
    engine.step()
    assert (capture.captures, capture.replays) == (1, 1)
    engine.step()
    assert (capture.captures, capture.replays, runner.captured) == (1, 2, 1)


def test_other_rows_on_the_same_pages_share_a_graph(lab: Any, zoo: Any) -> None:
    engine, capture, runner = graph_engine(lab, zoo, after=1)
    long = DecodingOptions(max_new_tokens=30, min_new_tokens=30)
    requests = lab.requests(3, 1, long, (1, 7, 7))
    steps_of(engine, requests, 2)
    engine.cancel([requests[1].key])
    engine.step()
    assert capture.captures == 2  # one row fewer: another bucket
    engine.admit([DecodeRequest(50, requests[1].source_ids, (5,), 1, long)])
    engine.step()
    assert (capture.captures, len(runner.shapes)) == (2, 2)


def test_adapters_on_other_banks_need_another_graph(lab: Any, zoo: Any) -> None:
    engine, capture, _ = graph_engine(lab, zoo, after=1)
    long = DecodingOptions(max_new_tokens=30, min_new_tokens=30)
    steps_of(engine, lab.requests(2, 1, long, (1,)), 2)
    assert capture.captures == 1
    engine.admit([DecodeRequest(50, (5, 6), (5,), 2, long)])
    engine.step()
    assert capture.captures == 2


def test_replaced_weights_act_in_an_old_graph(lab: Any, zoo: Any) -> None:
    """A slot that gets another adapter of the same size lies at the same addresses."""
    engine, capture, _ = graph_engine(lab, zoo, after=1)
    options = DecodingOptions(max_new_tokens=12)
    requests = lab.requests(4, 3, options, (1,))
    first = outputs(engine.translate(requests))
    captures = capture.captures
    engine.place(1, engine.read_adapter(zoo.folders[6]))
    second = outputs(engine.translate(requests))
    assert second != first
    plain = zoo.engine(lab, "float32")
    seventh = lab.requests(4, 3, options, (7,))
    assert second == outputs(plain.translate(seventh))
    assert capture.captures <= 2 * captures


def test_a_new_page_makes_new_graphs_and_gone_pages_drop_old_ones(lab: Any, zoo: Any) -> None:
    capture = FakeCapture()
    engine = lab.engine(zoo.base, "float32", capture=capture)
    runner = runner_of(engine, after=1)
    long = DecodingOptions(max_new_tokens=40, min_new_tokens=40)
    adapter = engine.read_adapter(zoo.folders[1])
    engine.place(1, adapter)
    steps_of(engine, lab.requests(1, 1, long, (1,)), 1)
    (old,) = runner.shapes
    engine.cancel([0])
    for _, page in engine._banks.pages([1]):
        page.capacity = 8  # full: the next adapter needs a page of its own
    engine.place(2, engine.read_adapter(zoo.folders[4]))
    steps_of(engine, lab.requests(1, 1, long, (2,)), 1)
    assert capture.captures == 2
    assert old in runner.shapes
    engine.cancel([0])
    engine.clear(1)
    steps_of(engine, lab.requests(1, 1, long, (2,)), 1)
    assert old not in runner.shapes
    assert capture.captures == 2


def test_larger_caches_drop_the_graphs_over_the_old_ones(lab: Any, zoo: Any) -> None:
    engine, capture, runner = graph_engine(lab, zoo, after=1)
    short = DecodingOptions(max_new_tokens=10, min_new_tokens=10)
    steps_of(engine, lab.requests(1, 1, short), 1)
    (old,) = runner.shapes
    address = anchors_of([engine._rows.running[0].lane.self_kv])
    engine.cancel([0])
    long = DecodingOptions(max_new_tokens=80, min_new_tokens=80)
    steps_of(engine, lab.requests(1, 1, long), 1)
    assert anchors_of([engine._rows.running[0].lane.self_kv]) != address
    assert runner.shapes == (old,)
    assert (capture.captures, runner.uses[old]) == (2, 1)


def test_steps_of_two_lanes_run_without_graphs(lab: Any, zoo: Any) -> None:
    engine, capture, _ = graph_engine(lab, zoo, after=1)
    greedy = lab.requests(2, 1, DecodingOptions(max_new_tokens=9), (1,))
    beams = [
        DecodeRequest(10 + one.key, one.source_ids, one.prefix_ids, 2,
                      DecodingOptions(beam_size=3, max_new_tokens=9))
        for one in greedy
    ]  # fmt: skip
    expected = outputs(zoo.engine(lab, "float32").translate([*greedy, *beams]))
    engine.admit([*greedy, *beams])
    engine.step()
    assert (capture.captures, capture.replays) == (0, 0)
    engine.cancel([one.key for one in (*greedy, *beams)])
    assert outputs(engine.translate([*greedy, *beams])) == expected


def test_the_graph_unused_for_longest_goes_first(lab: Any, zoo: Any) -> None:
    engine, capture, runner = graph_engine(lab, zoo, after=1, limit=2)
    long = DecodingOptions(max_new_tokens=30, min_new_tokens=30)
    requests = lab.requests(8, 1, long)
    steps_of(engine, requests, 1)
    engine.cancel(range(4, 8))
    engine.step()
    engine.cancel(range(2, 4))
    engine.step()
    assert [shape.requests for shape in runner.shapes] == [4, 2]
    assert (capture.captures, set(runner.uses)) == (3, set(runner.shapes))
    runner.forget()
    assert runner.shapes == ()
    engine.step()
    assert capture.captures == 4


def test_a_row_that_is_not_finite_fails_alone(lab: Any, zoo: Any) -> None:
    engine, _, _ = graph_engine(lab, zoo, after=1)
    options = DecodingOptions(max_new_tokens=12)
    requests = lab.requests(3, 3, options, (0, 1, 2))
    expected = outputs(engine.translate(requests))
    engine.admit(requests)
    engine.step()
    victim = engine._rows.running[1]
    with torch.inference_mode():
        victim.lane.self_kv[:, :, victim.index] = float("nan")
    ended: dict[int, Finished] = {}
    while engine.running:
        ended.update((one.key, one) for one in engine.step().finished)
    assert ended[victim.request.key].error is not None
    others = [key for key in sorted(ended) if key != victim.request.key]
    assert outputs([ended[key] for key in others]) == [expected[key] for key in others]
    assert outputs(engine.translate(requests)) == expected


@pytest.mark.parametrize(
    ("size", "least", "expected"),
    [(1, 1, 1), (2, 1, 2), (3, 1, 4), (64, 1, 64), (65, 1, 128), (7, 16, 16), (17, 16, 32)],
)
def test_buckets_are_powers_of_two(size: int, least: int, expected: int) -> None:
    assert bucket(size, least) == expected


def test_only_gpus_and_precisions_that_a_graph_can_hold_are_captured() -> None:
    gpu = torch.device("cuda", 0)
    half = FloatPrecision("bfloat16", torch.bfloat16)
    assert isinstance(find_capture(half, gpu), CudaCapture)
    assert find_capture(half, CPU) is None
    assert find_capture(FloatPrecision("bnb-int8", torch.bfloat16), gpu) is None


def test_an_engine_on_a_cpu_has_no_graphs(lab: Any, base: Any) -> None:
    assert lab.engine(base)._graphs is None


def test_shapes_count_padded_rows(lab: Any, zoo: Any) -> None:
    engine, _, runner = graph_engine(lab, zoo)
    options = DecodingOptions(beam_size=3, max_new_tokens=9)
    steps_of(engine, lab.requests(3, 1, options), 1)
    (shape,) = runner.shapes
    assert isinstance(shape, StepShape)
    assert (shape.width, shape.requests, shape.rows) == (3, 4, 12)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("beam", [1, 4])
def test_cuda_graphs_decode_what_eager_steps_decode(lab: Any, zoo: Any, beam: int) -> None:
    options = DecodingOptions(beam_size=beam, max_new_tokens=20)
    requests = lab.requests(9, 6, options, zoo.gathered)
    engine = zoo.engine(lab, "float32", device="cuda")
    plain = zoo.engine(lab, "float32", device="cuda")
    plain._graphs = None
    expected = outputs(plain.translate(requests))
    for _ in range(2):
        assert outputs(engine.translate(requests)) == expected
    assert engine._graphs is not None
    assert engine._graphs.captured > 0
