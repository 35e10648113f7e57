"""Devices, the precisions that go with them, and the way to them."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hub.engine.banks import Banks
from hub.engine.cache import Lane
from hub.engine.deltas import StepAdapters
from hub.engine.devices import CPU, find_device, moved, upload
from hub.engine.engine import Engine
from hub.engine.families import Checkpoint, find_family
from hub.engine.int8 import Int8Precision
from hub.engine.linear import FloatPrecision, Operand
from hub.engine.model import build_model
from hub.engine.precisions import (
    BLOCK_ROWS,
    FixedFloatPrecision,
    FixedLinear,
    find_precision,
    fixed_blocks,
    fixed_product,
)
from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.engine.rows import _rows_of, own_columns
from hub.engine.rules import RuledRow, Rules
from hub.engine.search import EarlyRows, likeliest, likeliest_at_once, rank_tokens
from hub.engine.shortlists import Shortlist
from hub.errors import SettingsError
from hub.settings import Settings, load_settings

GPU = torch.device("cuda", 0)
META = torch.device("meta")
needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA GPU, and PyTorch finds none"
)


def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def with_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_auto_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    without_gpu(monkeypatch)
    assert find_device("auto") == find_device("cpu") == CPU
    with_gpus(monkeypatch, 2)
    assert find_device("auto") == find_device("cuda") == GPU
    assert find_device("cuda:1") == torch.device("cuda", 1)
    assert find_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU", "", "mps"])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=r"auto, cpu, cuda or cuda:n"):
        find_device(name)


def test_a_missing_gpu_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    without_gpu(monkeypatch)
    with pytest.raises(SettingsError, match=r"'cuda'.*no GPU to use.*--device cpu") as caught:
        find_device("cuda")
    assert caught.value.field == "device"
    with_gpus(monkeypatch, 2)
    with pytest.raises(SettingsError, match=r"'cuda:2'.*GPUs 0 to 1"):
        find_device("cuda:2")


def test_auto_quantization_goes_with_the_device() -> None:
    assert isinstance(find_precision("auto"), Int8Precision)
    assert find_precision("auto", GPU) == FixedFloatPrecision("bfloat16", torch.bfloat16)
    assert find_precision("float16", GPU).hidden_dtype is torch.float16
    assert find_precision("float16") == FloatPrecision("float16", torch.float16)


def test_wrong_combinations_name_value_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"'int8' on 'cuda:0'.*CPUs only.*bfloat16"):
        find_precision("int8", GPU)
    with pytest.raises(SettingsError, match=r"'int4'.*nf4"):
        find_precision("int4")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    for name in ("nf4", "bnb-int8"):
        with pytest.raises(SettingsError, match=rf"'{name}'.*pip install bitsandbytes.*bfloat16"):
            find_precision(name, GPU)


def test_settings_know_devices_and_precisions(tmp_path: Any) -> None:
    defaults = Settings()
    assert (defaults.device, defaults.quantization) == ("auto", "auto")
    found = load_settings({"device": "cuda:1", "quantization": "nf4"}, environ={}, folder=tmp_path)
    assert (found.device, found.quantization) == ("cuda:1", "nf4")
    with pytest.raises(SettingsError, match=r"device = 'tpu' \(from HUB_DEVICE\)"):
        load_settings(environ={"HUB_DEVICE": "tpu"}, folder=tmp_path)


def test_int8_llm_says_at_start_what_it_lacks(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bitsandbytes")
    # import-linter, run by another test, disables every logger that is there.
    monkeypatch.setattr(logging.getLogger("adapterhub.engine"), "disabled", False)
    with caplog.at_level(logging.WARNING, "adapterhub.engine"):
        find_precision("nf4", GPU)
        assert not caplog.records
        find_precision("bnb-int8", GPU)
    assert "depends on the rows beside it" in caplog.text


def test_an_engine_refuses_a_gpu_that_is_not_there(
    lab: Any, base: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_gpu(monkeypatch)
    with pytest.raises(SettingsError, match=r"'cuda'"):
        lab.engine(base, device="cuda")
    engine = lab.engine(base, "auto", device="auto")
    assert (engine.quantization, engine.device) == ("int8", CPU)


@dataclass(frozen=True)
class Leaf:
    weight: Tensor
    name: str = "leaf"


@dataclass(frozen=True)
class Tree:
    table: Tensor
    tied: Leaf
    layers: list[Leaf]
    both: tuple[Tensor, None]


def test_a_tree_moves_whole_and_keeps_what_it_shares() -> None:
    table = torch.ones(2, 3)
    tree = Tree(table, Leaf(table), [Leaf(torch.zeros(1)), Leaf(torch.zeros(2))], (table, None))
    found = moved(tree, META)
    tensors = [found.table, found.tied.weight, *(leaf.weight for leaf in found.layers)]
    assert all(tensor.device.type == "meta" for tensor in tensors)
    assert found.table is found.tied.weight is found.both[0]
    assert (found.tied.name, found.both[1]) == ("leaf", None)
    assert tree.table.device == CPU


def test_a_whole_model_moves(lab: Any, base: Any) -> None:
    model = lab.engine(base)._model
    there = moved(model, META)
    assert there.embedding.weight is there.output.weight
    assert there.decoder[1].feed_forward.fc1.weight.device.type == "meta"
    assert there.encoder_norm.bias.device.type == "meta"
    assert there.encoder_norm.step.weight is there.encoder_norm.weight
    assert there.positions.tables["encoder"] is there.positions.tables["decoder"]
    assert there.positions.tables["decoder"].device.type == "meta"
    assert model.positions.tables["decoder"].device == CPU


def test_on_the_cpu_nothing_is_copied() -> None:
    tensor = torch.ones(3)
    assert upload(tensor, CPU) is tensor
    assert upload(tensor, META).device.type == "meta"


def test_caches_lie_on_the_device_and_grow_for_padded_steps(lab: Any, base: Any) -> None:
    architecture = lab.engine(base).architecture
    lane = Lane(architecture, 2, torch.float32, META)
    lane.add(5, 7)
    assert lane.self_kv.device.type == lane.cross_kv.device.type == "meta"
    lane = Lane(architecture, 2, torch.float32)
    lane.add(5, 7)
    lane.self_kv[:, :, :2] = 3.0
    lane.ensure(4, 70, 20)
    assert lane.self_kv.shape[2] >= 8
    assert lane.self_kv.shape[4] >= 70
    assert lane.cross_kv.shape[2] >= 4
    assert lane.self_kv[0, 0, :2, 0, :7].eq(3.0).all()
    before = lane.self_kv
    lane.ensure(2, 16, 16)
    assert lane.self_kv is before


@pytest.mark.parametrize("rows", [1, 5, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS])
def test_products_have_one_number_of_rows(rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    x, weight = (torch.randn(n, 24, generator=generator) for n in (rows, 10))
    bias = torch.randn(10, generator=generator)
    assert {block.shape[0] for block in fixed_blocks(x)} == {BLOCK_ROWS}
    found = fixed_product(x, weight, bias)
    assert found.shape == (rows, 10)
    torch.testing.assert_close(found, functional.linear(x, weight, bias))


def test_a_fixed_product_is_the_same_bits_in_any_company() -> None:
    generator = torch.Generator().manual_seed(3)
    x, weight = (torch.randn(n, 128, generator=generator) for n in (100, 96))
    for dtype in (torch.float32, torch.bfloat16):
        linear = FixedFloatPrecision("float32", dtype).linear(weight, None)
        rows = x.to(dtype)
        together = linear(Operand(rows, None, 100))
        for row in (0, 17, 63, 64, 99):
            assert torch.equal(linear(Operand(rows[row : row + 1], None, 1))[0], together[row])


RULED = (
    RuledRow(1, Rules(1.7, 2, (4, 6), None), (3, 5, 3), last=False),
    RuledRow(3, Rules(1.0, 0, (), 2), (3, 5, 3), last=True),
    RuledRow(5, Rules(1.0, 0, (), 2), (3, 5, 3), last=True),
)


def test_every_kind_of_adapter_runs_on_products_of_one_number_of_rows(lab: Any, zoo: Any) -> None:
    """The precision of a GPU, run on a CPU."""
    plain = zoo.engine(lab, "float32")
    weights = Checkpoint(zoo.base, find_family(zoo.base.config))
    model = build_model(weights, FixedFloatPrecision("float32", torch.float32))
    engine = Engine(model, plain._banks, plain._reader, plain._base, 64)
    requests = lab.forced(len(zoo.slots), seed=40, slots=zoo.slots)
    bare = plain.forced_logits([replace(request, slot=0) for request in requests])
    expected = plain.forced_logits(requests)
    for request, own, other, base in zip(
        requests, engine.forced_logits(requests), expected, bare, strict=True
    ):
        assert torch.allclose(other, base, atol=0.05) is (request.slot == 0)
        torch.testing.assert_close(own, other, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("vocab", [7, 5000])
@pytest.mark.parametrize("keep", [1, 6])
def test_one_read_finds_the_same_tokens_as_many(vocab: int, keep: int) -> None:
    logits = torch.randn(6, vocab, generator=torch.Generator().manual_seed(8))
    logits[1, 4] = 9.0
    logits[5, 2] = float("nan")
    early = EarlyRows([0, 4], (int(logits[0].argmax()), int(logits[4].argmax())))
    plain = likeliest(logits.clone(), keep, EarlyRows((), ()))
    values, tokens = likeliest(logits.clone(), keep, early, RULED)
    assert all(plain[1][row, 0] != tokens[row, 0] for row in (0, 1, 3, 4))
    found, chosen = likeliest_at_once(logits.clone(), keep, early, RULED)
    assert (found.dtype, chosen.dtype) == (values.dtype, tokens.dtype)
    assert chosen.shape == (6, min(keep, vocab))
    sound = [0, 1, 2, 3, 4]
    certain = values[sound].isfinite()  # tokens of equal value come in any order
    assert bool(certain[:, 0].all())
    assert torch.equal(chosen[sound][certain], tokens[sound][certain])
    torch.testing.assert_close(found, values, atol=1e-6, rtol=0, equal_nan=True)
    assert bool(found[5].isnan().all())


class OneDevice(TorchDispatchMode):
    """Collects operations that read tensors of two devices; copies between them are no such."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed: list[str] = []

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = tree_leaves((args, kwargs or {}))
        devices = {leaf.device for leaf in leaves if isinstance(leaf, Tensor) and leaf.dim()}
        if len(devices) > 1 and func.overloadpacket not in (torch.ops.aten.copy_,):
            self.mixed.append(str(func))
        return func(*args, **(kwargs or {}))


def meta_engine(host: Engine, folders: Sequence[Path]) -> Engine:
    """An engine whose weights, adapters and caches are on a device without memory."""
    banks = Banks(host.architecture, 32, 0, META)
    model = moved(host._model, META)
    engine = Engine(model, banks, host._reader, host._base, 64, META, lambda run: run)
    for slot, folder in enumerate(folders, start=1):
        engine.place(slot, engine.read_adapter(folder))
    return engine


def steps_on(engine: Engine, requests: Sequence[DecodeRequest], beam: int) -> list[Tensor]:
    """Encode, decode with and without graphs, project, choose, reorder, leave."""
    engine._begin_pass(list(requests)).run(engine._rows, math.inf)
    plan = engine._current_plan()
    adapters = StepAdapters(plan, engine._deltas, engine._model.precision)
    hidden = engine._model.decode(engine._rows.step(), adapters)
    fixed = engine._decode(engine._rows.step(), None)
    free = engine._rows.running[::2]
    rows = _rows_of(fixed, free, len(requests))
    own = own_columns(free)
    logits = engine._model.project(rows, own)
    listed = engine._tables.find(Shortlist(range(0, 120, 2))).adapted(own).project(rows)
    chosen = [rank_tokens(logits, 0, keep, EarlyRows([0], (2, 3)), RULED) for keep in (1, 4)]
    lane = engine._rows.running[0].lane
    lane.reorder(list(reversed(range(len(requests) * beam))), 4)
    lane.remove(0, wipe=True)
    return [hidden, fixed, logits, listed, *(tensor for pair in chosen for tensor in pair)]


def check_one_device(engine: Engine, requests: Sequence[DecodeRequest], beam: int) -> None:
    with torch.inference_mode(), OneDevice() as seen:
        found = steps_on(engine, requests, beam)
    assert {tensor.device for tensor in found} == {META}
    assert seen.mixed == []


@pytest.mark.parametrize("beam", [1, 3])
def test_no_operation_mixes_devices(lab: Any, zoo: Any, beam: int) -> None:
    """Every kind of adapter at once; vectors and token rows keep the step out of fixed shapes."""
    engine = meta_engine(zoo.engine(lab, "float32"), zoo.folders)
    options = DecodingOptions(beam_size=beam, max_new_tokens=9, min_new_tokens=2)
    check_one_device(engine, lab.requests(len(zoo.slots), 3, options, zoo.slots), beam)
    assert engine._graphs is not None
    assert engine._graphs.shapes == ()


@pytest.mark.parametrize("beam", [1, 3])
def test_no_operation_mixes_devices_in_fixed_shapes(lab: Any, zoo: Any, beam: int) -> None:
    engine = meta_engine(zoo.engine(lab, "float32"), zoo.folders)
    options = DecodingOptions(beam_size=beam, max_new_tokens=9, min_new_tokens=2)
    slots = zoo.gathered
    check_one_device(engine, lab.requests(len(slots), 3, options, slots), beam)
    assert engine._graphs is not None
    assert len(engine._graphs.shapes) == 1


@pytest.mark.parametrize("family", ["t5", "t5_gated", "mbart", "marian"])
@pytest.mark.parametrize("quantization", ["float32", "bfloat16"])
def test_no_operation_of_other_families_mixes_devices(
    lab: Any, family: str, quantization: str
) -> None:
    """With the products of a GPU, which have one number of rows."""
    base = lab.base(lab.model(seed=3, family=family))
    host = lab.engine(base, quantization)
    weights = Checkpoint(base, find_family(base.config))
    host._model = build_model(weights, find_precision(quantization, META), META)
    engine = meta_engine(host, ())
    assert isinstance(engine._model.decoder[0].feed_forward.fc1, FixedLinear)
    options = DecodingOptions(beam_size=3, max_new_tokens=9, min_new_tokens=2)
    check_one_device(engine, lab.requests(5, 3, options), 3)
    assert engine._graphs is not None
    assert len(engine._graphs.shapes) == 1


def test_that_check_sees_a_tensor_left_behind(lab: Any, zoo: Any) -> None:
    engine = meta_engine(zoo.engine(lab, "float32"), ())
    with torch.inference_mode(), OneDevice() as seen:
        engine._model.embedding(torch.tensor([3, 4]))
    assert seen.mixed == ["aten.index_select.default"]


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("quantization", ["float32", "bfloat16", "float16", "nf4", "bnb-int8"])
def test_logits_on_a_gpu_stay_close_to_the_cpu(lab: Any, zoo: Any, quantization: str) -> None:
    requests = lab.forced(12, seed=40, slots=zoo.slots)
    exact = zoo.engine(lab, "float32").forced_logits(requests)
    near = zoo.engine(lab, quantization, device="cuda").forced_logits(requests)
    bound = {"float32": 1e-3, "bfloat16": 0.05, "float16": 0.02, "nf4": 0.3, "bnb-int8": 0.1}
    for one, other in zip(near, exact, strict=True):
        difference = (one.cpu() - other).norm() / other.norm()
        assert float(difference) < bound[quantization]
