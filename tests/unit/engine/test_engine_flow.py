"""Admission, steps, cancellation: the life of a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from hub.engine.cache import Lane
from hub.engine.engine import Engine
from hub.engine.model import Model
from hub.engine.passes import EncoderPass
from hub.engine.requests import DecodeRequest, DecodingOptions, Finished
from hub.errors import (
    BaseNotFoundError,
    DecodingError,
    EngineError,
    HubError,
    SettingsError,
    SlotsBusyError,
    TextError,
    WrongBaseError,
)

OPTIONS = DecodingOptions(max_new_tokens=8, min_new_tokens=8)


@pytest.fixture(scope="module")
def engine(lab: Any, zoo: Any) -> Engine:
    return zoo.engine(lab, "float32", max_rows=8)


@pytest.fixture(autouse=True)
def idle(engine: Engine) -> Any:
    yield
    engine.cancel(range(100))
    assert engine.running == 0


def test_rows_join_and_leave_while_others_decode(lab: Any, engine: Engine) -> None:
    first, second, third = lab.requests(3, seed=1, options=OPTIONS, slots=(0, 1, 2))
    engine.admit([first])
    assert engine.running == 1
    report = engine.step()
    assert (report.rows, report.encoded, report.tokens, report.distinct_adapters) == (1, 1, 0, 0)
    engine.admit([second, replace(third, options=replace(OPTIONS, beam_size=4))])
    report = engine.step()
    assert (report.rows, report.encoded, report.tokens, report.distinct_adapters) == (6, 2, 1, 2)
    ended: dict[int, int] = {}
    for number in range(3, 20):
        ended.update((one.key, number) for one in engine.step().finished)
    # One step for the forced token, eight for the others.
    assert ended == {first.key: 9, second.key: 10, third.key: 10}
    assert engine.running == 0
    assert engine.step().rows == 0


def test_cancelled_rows_leave_at_once(lab: Any, engine: Engine) -> None:
    requests = lab.requests(3, seed=2, options=OPTIONS)
    expected = engine.translate([requests[2]])[0].hypotheses
    engine.admit(requests[:1] + requests[2:])
    engine.step()
    engine.admit(requests[1:2])
    assert engine.cancel([requests[0].key, requests[1].key, 77]) == (1, 0)
    assert engine.running == 1
    found = [one for _ in range(10) for one in engine.step().finished]
    assert [one.key for one in found] == [2]
    assert found[0].hypotheses == expected


@pytest.mark.parametrize("cancelled", [None, "running", "joining"])
def test_a_pass_goes_on_between_the_steps_of_others(
    lab: Any, engine: Engine, cancelled: str | None
) -> None:
    requests = lab.requests(5, seed=5, options=OPTIONS, slots=(0, 1, 2, 3))
    expected = {one.key: one.hypotheses for one in engine.translate(requests)}
    assert len(set(expected.values())) == 5, "all differ"
    engine.admit(requests[:2])
    engine.step(0.0)  # nobody runs, so nobody is held up
    engine.admit(requests[2:])
    reports = [engine.step(0.0)]
    assert (reports[0].rows, reports[0].encoded, reports[0].unencoded) == (2, 0, 3)
    assert engine.running == 5
    with pytest.raises(EngineError, match="in use by running rows"):
        engine.clear(requests[2].slot)
    gone = {"running": requests[0], "joining": requests[2], None: None}[cancelled]
    if gone is not None:
        assert engine.cancel([gone.key]) == (gone.key,)
        if gone.slot:
            engine._check_free(gone.slot)
    while engine.running:
        reports.append(engine.step(0.0))
    layers = len(engine._model.encoder)
    joined = next(number for number, report in enumerate(reports) if report.encoded)
    assert joined == layers, "a layer a step, then its end"
    assert [report.encoded for report in reports if report.encoded] == [
        2 + (gone is not requests[2])
    ]
    tokens = sum(len(one.source_ids) for one in requests[2:])
    if gone is not requests[2]:
        assert sum(report.encoder_tokens for report in reports) == pytest.approx(tokens)
    found = {one.key: one.hypotheses for report in reports for one in report.finished}
    assert found == {key: own for key, own in expected.items() if gone is None or key != gone.key}


def test_cancelling_everyone_ends_a_pass(lab: Any, engine: Engine) -> None:
    requests = lab.requests(3, seed=6, options=OPTIONS, slots=(0, 1, 2))
    engine.admit(requests[:1])
    engine.step()
    engine.admit(requests[1:])
    engine.step(0.0)
    assert set(engine.cancel([one.key for one in requests[1:]])) == {1, 2}
    assert (engine.running, engine.step().unencoded) == (1, 0)


def step_often(engine: Engine) -> list[Finished]:
    return [one for _ in range(30) for one in engine.step(0.0).finished]


@pytest.mark.parametrize("where", ["embed_sources", "encode_layer", "store", "room"])
def test_a_pass_that_fails_can_be_gone_on_with(
    lab: Any, engine: Engine, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = lab.requests(5, seed=7, options=OPTIONS, slots=(0, 1, 2, 3))
    requests[4] = replace(requests[4], options=replace(OPTIONS, beam_size=2))
    expected = {one.key: one.hypotheses for one in engine.translate(requests)}
    engine.admit(requests[:2])
    engine.step()
    engine.admit(requests[2:])
    owner, name = (Lane, "_grown") if where == "room" else (Model, where)
    ask = getattr(owner, name)
    calls = 0

    def fail_once(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("no memory")
        return ask(*arguments)

    monkeypatch.setattr(owner, name, fail_once)
    if where in ("embed_sources", "store"):
        calls = 1
    with pytest.raises(RuntimeError, match="no memory"):
        step_often(engine)
    assert engine.running == 6
    assert engine._rows.count == 2, "nobody has joined by half"
    found = {one.key: one for one in step_often(engine)}
    assert {key: one.hypotheses for key, one in found.items()} == expected
    assert engine.running == 0


def test_those_who_stay_begin_anew_when_a_pass_cannot_go_on_without_one(
    lab: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = lab.requests(4, seed=9, options=OPTIONS, slots=(0, 1, 2, 3))
    expected = {one.key: one.hypotheses for one in engine.translate(requests)}
    engine.admit(requests[:1])
    engine.step()
    engine.admit(requests[1:])
    engine.step(0.0)

    def fail(*arguments: Any) -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as broken:
        broken.setattr(EncoderPass, "drop", fail)
        assert engine.cancel([2]) == (2,)
    found = {one.key: one.hypotheses for one in step_often(engine)}
    assert found == {key: own for key, own in expected.items() if key != 2}
    assert engine.running == 0


def test_more_requests_than_rows_run_in_turn(lab: Any, engine: Engine) -> None:
    options = DecodingOptions(max_new_tokens=4)
    mixed = [
        replace(request, options=replace(options, beam_size=1 + 2 * (request.key % 3)))
        for request in lab.requests(12, seed=3, options=options, slots=(0, 1, 2, 3))
    ]
    found = engine.translate(mixed)
    assert [one.key for one in found] == [request.key for request in mixed]
    assert all(one.error is None and one.hypotheses and one.steps for one in found)
    assert all(one.encode_seconds > 0 and one.decode_seconds > 0 for one in found)


def test_forced_prefix_of_any_length_is_kept_out_of_the_result(engine: Engine) -> None:
    options = DecodingOptions(max_new_tokens=3)
    source = (9, 10, 11)
    [free] = engine.translate([DecodeRequest(1, source, (), 0, options)])
    first = free.hypotheses[0].token_ids[0]
    [led] = engine.translate([DecodeRequest(1, source, (first,), 0, options)])
    assert led.hypotheses[0].token_ids[:2] == free.hypotheses[0].token_ids[1:]
    assert led.steps == 4
    assert led.hypotheses[0].finished is False


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"source_ids": ()}, TextError, "0 tokens"),
        ({"source_ids": (5,) * 97}, TextError, "97 tokens.*96"),
        ({"source_ids": (120,)}, TextError, "outside"),
        ({"prefix_ids": (-1,)}, TextError, "outside"),
        ({"slot": 30}, EngineError, "slot 30 holds no adapter"),
        ({"options": DecodingOptions(max_new_tokens=96)}, DecodingError, "96.*at most 95"),
        ({"options": DecodingOptions(beam_size=9, max_new_tokens=4)}, DecodingError, "9.*8 rows"),
        ({"options": DecodingOptions(beam_size=0)}, DecodingError, "beam_size is 0"),
    ],
)
def test_bad_requests_are_refused_whole(
    lab: Any, engine: Engine, change: dict[str, Any], error: type[HubError], words: str
) -> None:
    good = lab.requests(2, seed=4, options=OPTIONS)
    with pytest.raises(error, match=words):
        engine.admit([good[0], replace(good[1], **change)])
    assert engine.running == 0


def test_too_many_rows_and_repeated_keys_are_refused(lab: Any, engine: Engine) -> None:
    requests = lab.requests(3, seed=5, options=replace(OPTIONS, beam_size=4))
    with pytest.raises(SlotsBusyError, match=r"12 more rows.*0 of 8"):
        engine.admit(requests)
    engine.admit(requests[:1])
    with pytest.raises(DecodingError, match="key 0"):
        engine.admit(requests[:1])


def test_a_slot_in_use_is_not_touched(lab: Any, zoo: Any, engine: Engine) -> None:
    adapter = engine.read_adapter(zoo.folders[0])
    engine.admit([replace(lab.requests(1, seed=6, options=OPTIONS)[0], slot=3)])
    for _ in range(2):
        for act in (lambda: engine.clear(3), lambda: engine.place(3, adapter)):
            with pytest.raises(EngineError, match="slot 3 is in use"):
                act()
        engine.step()
    with pytest.raises(EngineError, match="slot 0 does not exist"):
        engine.place(0, adapter)
    with pytest.raises(EngineError, match="slot 33 does not exist"):
        engine.clear(33)


def test_an_adapter_of_another_base_is_not_placed(lab: Any, zoo: Any, engine: Engine) -> None:
    other = lab.engine(lab.base(lab.model(seed=99)))
    adapter = other.read_adapter(zoo.folders[0])
    with pytest.raises(WrongBaseError):
        engine.place(9, adapter)


def test_unknown_quantization_and_family_are_refused(lab: Any, base: Any, tmp_path: Any) -> None:
    with pytest.raises(SettingsError, match="int3"):
        lab.engine(base, "int3")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    with pytest.raises(BaseNotFoundError, match=r"'llama'.*m2m_100"):
        lab.engine(replace(base, folder=tmp_path))


def test_threads_are_set_only_when_asked(lab: Any, base: Any, monkeypatch: Any) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    lab.engine(base)
    assert asked == []
    lab.engine(base, threads=2)
    assert asked == [2]


@pytest.mark.parametrize("beam", [1, 3])
def test_rules_that_leave_no_token_are_told(lab: Any, engine: Engine, beam: int) -> None:
    vocabulary = tuple(range(engine.architecture.vocab_size))
    options = replace(OPTIONS, beam_size=beam, min_new_tokens=0, bad_words=vocabulary)
    barred, free = lab.requests(2, seed=9, options=options)
    free = replace(free, options=replace(OPTIONS, beam_size=beam))
    ended = engine.translate([barred, free])
    assert isinstance(ended[0].error, DecodingError)
    assert "leave no token" in ended[0].error.message
    assert ended[1].error is None
