"""The benchmarks' arithmetic, what they write, and that they measure what they say."""

from __future__ import annotations

import builtins
import json
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from hub.bench.models import DIMENSIONS, model_config, random_base
from hub.budget import allowance
from hub.cli import build_app
from hub.dimensions import ModelDimensions
from hub.engine import native
from hub.engine.engine import Engine
from hub.errors import BudgetError, EngineError, SettingsError
from server.bench.adapters import random_adapter
from server.bench.apart import PeerProcess
from server.bench.engine import EngineOptions, bench_engine
from server.bench.limits import Limits, Work, held_libraries
from server.bench.memory import base_memory
from server.bench.observed import Observed
from server.bench.peers import PEERS, find_peers
from server.bench.residency import ResidencyOptions, bench_residency, choose_adapters
from server.bench.timing import Sample, interleave, rows_of, spread
from server.bench.workload import PREFIX, Workload
from server.commands import register

SHORT = Workload(source_tokens=5, target_tokens=3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, written once."""
    path = tmp_path_factory.mktemp("bench")
    random_base("small", path)
    return path


def ignore(message: str) -> None:
    pass


def test_ratios_are_of_medians_in_one_batch() -> None:
    samples = [
        Sample("base", 4, 1, (2.0, 1.0, 4.0)),
        Sample("mixed", 4, 1, (2.5, 2.5, 2.5)),
        Sample("ctranslate2", 4, 1, (4.0, 4.0, 5.0)),
    ]
    base, mixed, other = rows_of(samples, tokens=10)
    assert (base["tokens_per_s"], base["tokens_per_s_min"], base["tokens_per_s_max"]) == (
        20,
        10,
        40,
    )
    assert base["ratio_to_ctranslate2"] == 2.0  # 40 tokens in 2 seconds and in 4
    assert mixed["ratio_to_base"] == 0.8
    assert other["ratio_to_ctranslate2"] == 1.0
    assert base["ratio_to_peft"] is None


def test_engines_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    ticks = iter(range(1000))

    def runner(name: str) -> Any:
        return lambda batch, beam: order.append(f"{name}{batch}{beam}")

    runners = {"a": runner("a"), "b": runner("b")}
    samples = interleave(runners, 3, 2, 2, clock=lambda: float(next(ticks)))
    assert order == ["a32", "b32"] * 3
    assert [one.seconds for one in samples] == [(1.0, 1.0), (1.0, 1.0)]


def test_spread_of_nothing_is_nothing() -> None:
    assert spread([])["median"] is None
    assert spread([float(n) for n in range(1, 101)]) == {
        "count": 100, "median": 50.5, "p99": 100.0, "max": 100.0,
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["bottleneck", "lora"])
def test_random_adapters_take_what_the_budget_allows_and_bind(folder: Path, kind: str) -> None:
    base = random_base("small", folder)
    one = random_adapter(kind, 0.01, base.dimensions, folder / "adapters", seed=1)
    other = random_adapter(kind, 0.01, base.dimensions, folder / "adapters", seed=2)
    values = load_file(one.folder / "adapter_model.safetensors")
    assert sum(value.numel() for value in values.values()) == one.solution.trainable_parameters
    allowed = allowance(0.01, base.dimensions)
    assert 0.85 * allowed < one.solution.trainable_parameters <= allowed
    assert any(
        not torch.equal(values[name], value)
        for name, value in load_file(other.folder / "adapter_model.safetensors").items()
    )
    engine = Engine.load(base, quantization="int8", slots=1, max_rows=2)
    host = engine.read_adapter(one.folder)
    assert host.parameters == one.solution.trainable_parameters
    engine.place(1, host)
    plain = engine.translate(SHORT.requests(1, 2, [0]))[0].hypotheses
    assert engine.translate(SHORT.requests(1, 2, [1]))[0].hypotheses != plain, "it acts"


def test_the_dimensions_are_those_of_the_models() -> None:
    from hub.dimensions import ModelDimensions

    counts = {
        name: ModelDimensions.from_config(model_config(name)).parameters for name in DIMENSIONS
    }
    # The models' own counts, as their cards and transformers have them.
    assert counts["m2m100-418m"] == 483_905_536
    assert counts["nllb-600m"] == 615_073_792


def test_bench_engine_writes_rows_memory_and_placing(folder: Path) -> None:
    options = EngineOptions(
        dims="small", quantization="int8", batches=(1, 2), beams=(1, 2), rounds=1, memory=False,
        work=SHORT,
    )  # fmt: skip
    found = bench_engine(options, folder, ignore)
    rows = found["rows"]
    assert [(row["engine"], row["batch"], row["beam"]) for row in rows] == [
        (engine, batch, beam) for beam in (1, 2) for batch in (1, 2) for engine in ("base", "mixed")
    ]
    assert all(row["tokens_per_s"] > 0 for row in rows)
    assert {one["kind"] for one in found["placing"]} == {"bottleneck", "lora"}
    assert all(one["from_disk_ms"] > one["from_host_ms"] > 0 for one in found["placing"])
    total = sum(one["bytes"] for one in found["placing"])
    assert found["memory"]["placed_adapters_bytes"] == total
    assert {"machine", "versions"} <= found.keys()
    assert found["machine"]["kernels"] == native.variant()
    if native.multiplies():
        assert min(found["limits"].values()) > 0
        base, mixed = rows[:2]
        assert 0 < base["share_of_reading"] < 1
        assert 0 < base["share_of_products"] < 1
        assert "share_of_reading" not in mixed
    json.dumps(found)


def test_shares_are_of_the_measured_limits() -> None:
    base = ModelDimensions(
        d_model=10, encoder_layers=1, decoder_layers=1, encoder_ffn=20, decoder_ffn=30,
        vocab_size=1000, max_positions=9, parameters=0,
    )  # fmt: skip
    work = Work.of(base, Workload(source_tokens=5, target_tokens=10))
    # A step: 6 x 100 of attention, 2 x 10 x 30, and the table; a source: 4 x 100, 2 x 10 x 20,
    # and 2 x 100 of cross-attention, once in 10 steps, for 5 tokens.
    assert work == Work(read_bytes=11200 + 100, row_products=11200 + 500)
    shares = work.shares(Limits(read_gb_s=0.0113, gmac_s=0.0234), tokens_per_s=1000, batch=2)
    assert shares == {"share_of_reading": 0.5, "share_of_products": 0.5}


def test_the_best_measurement_is_the_limit() -> None:
    assert Limits(30.0, 90.0).best(Limits(20.0, 100.0)) == Limits(30.0, 100.0)


def test_libraries_are_held_while_a_bench_runs() -> None:
    environ = {"HUB_CPU_ISA": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    before = dict(environ)
    with held_libraries(environ):
        assert environ["CT2_FORCE_CPU_ISA"] == environ["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert environ == before
    free: dict[str, str] = {}
    with held_libraries(free):
        assert free == {}


def test_bench_engine_knows_devices_and_their_precisions(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = EngineOptions(
        dims="small", quantization="float16", batches=(2,), rounds=1, memory=False, work=SHORT,
        device="auto",
    )  # fmt: skip
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = bench_engine(options, folder, ignore)
    assert (found["workload"]["quantization"], found["workload"]["device"]) == ("float16", "cpu")
    assert found["machine"]["gpu"] is None
    with pytest.raises(SettingsError, match="no GPU to use"):
        bench_engine(replace(options, device="cuda"), folder, ignore)


def test_ctranslate2_is_refused_a_precision_that_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ctranslate2 has no nf4.*float16"):
        PEERS["ctranslate2"](tmp_path, tmp_path, SHORT, "nf4", 1, "cpu")


def test_a_negative_warm_up_is_refused() -> None:
    assert ResidencyOptions(warm=0).warm == 0
    with pytest.raises(SettingsError, match="--warm is -1; give 0 or more"):
        ResidencyOptions(warm=-1)


def test_bench_residency_serves_everything_from_the_tiers(folder: Path, tmp_path: Path) -> None:
    options = ResidencyOptions(
        adapters=12,
        requests=40,
        warm=0,
        slots=3,
        host=6,
        rows=4,
        in_flight=10,
        work=replace(SHORT, spread=2),
    )
    (tmp_path / "base-small").symlink_to(folder / "base-small")
    found = bench_residency(options, tmp_path, ignore)
    resident, tiered = found["rows"]
    assert resident["hit_rate"]["device"] == 1.0
    assert resident["place_ms"]["count"] == resident["load_ms"]["count"] == 0
    wanted = found["workload"]["adapters_requested"]
    assert wanted > 3
    assert tiered["place_ms"]["count"] >= wanted
    assert tiered["load_ms"]["count"] >= wanted
    assert tiered["evictions"]["device"] == tiered["place_ms"]["count"] - 3
    assert 0 < tiered["hit_rate"]["device"] < 1
    expected = tiered["tokens_per_s"] / resident["tokens_per_s"]
    assert found["ratio"] == pytest.approx(expected, abs=0.01)
    json.dumps(found)


def test_zipf_requests_follow_the_law_and_uniform_ones_do_not() -> None:
    options = ResidencyOptions(adapters=1000, requests=20_000, warm=0, in_flight=64)
    zipf = choose_adapters(options)[:20_000]
    flat = choose_adapters(replace(options, distribution="uniform"))[:20_000]
    harmonic = sum(1 / rank for rank in range(1, 1001))
    assert zipf.count(0) / 20_000 == pytest.approx(1 / harmonic, rel=0.1)
    assert zipf.count(0) / zipf.count(1) == pytest.approx(2, rel=0.15)
    assert flat.count(0) / 20_000 == pytest.approx(0.001, abs=0.001)


def test_the_stopwatch_forces_exact_lengths_and_sees_delays(folder: Path) -> None:
    engine = Engine.load(random_base("small", folder), quantization="int8", slots=1, max_rows=4)
    observed = Observed(engine)
    first, second = Workload(5, 6).requests(2, 1, [0])
    observed.admit([first])
    observed.step()
    assert observed.delay_ms == [], "nobody was running"
    observed.admit([second])
    report = observed.step()
    assert observed.delay_ms[0] >= report.encode_seconds * 1000 > 0
    finished = [*report.finished]
    while engine.running:
        finished += observed.step().finished
    assert [len(one.hypotheses[0].token_ids) for one in finished] == [6, 6]


def test_a_missing_peer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "ctranslate2":
            raise ImportError("No module named 'ctranslate2'")
        return original(name, *rest)

    def import_module(name: str) -> Any:
        return refuse(name)

    monkeypatch.setattr("server.bench.peers.importlib.import_module", import_module)
    with pytest.raises(SettingsError, match="pip install ctranslate2"):
        find_peers(["ctranslate2"])
    with pytest.raises(SettingsError, match="ctranslate2, transformers, peft"):
        find_peers(["vllm"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ctranslate2", "transformers", "peft"])
@pytest.mark.filterwarnings("ignore")
def test_peers_run_at_exact_lengths(folder: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip(name)
    run = PEERS[name](folder / "base-small", tmp_path, SHORT, "int8", 1, "cpu")
    for beam in (1, 4):
        run(3, beam)  # checks the lengths itself


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_random_base_is_the_same_model_in_transformers(folder: Path) -> None:
    from transformers import M2M100ForConditionalGeneration

    base = random_base("small", folder)
    model = M2M100ForConditionalGeneration.from_pretrained(base.folder, dtype=torch.float32)
    engine = Engine.load(base, quantization="float32", slots=1, max_rows=1)
    source = SHORT.sources(1)[0]
    found = model.generate(
        torch.tensor([source]), forced_bos_token_id=PREFIX, num_beams=1, do_sample=False,
        min_new_tokens=4, max_new_tokens=4,
    )  # fmt: skip
    ours = engine.translate(SHORT.requests(1, 1, [0]))[0]
    assert list(ours.hypotheses[0].token_ids) == found[0, 2:].tolist()


@pytest.mark.slow
def test_memory_is_measured_in_a_fresh_process(folder: Path) -> None:
    found = base_memory(folder / "base-small", "int8")
    assert 9_000_000 < found["base_bytes"] < 120_000_000
    assert found["loaded_bytes"] - found["idle_bytes"] == found["base_bytes"]


def test_memory_that_takes_too_long_to_measure_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.bench.memory._TIMEOUT", 0.01)
    with pytest.raises(EngineError, match=r"after 0\.01 s.*--no-memory"):
        base_memory(tmp_path, "int8")


class EndedProcess:
    """A peer that has loaded, and ends before it is asked anything."""

    def __init__(self, target: object, args: tuple[Any, ...], daemon: bool) -> None:
        self._pipe = args[0]

    def start(self) -> None:
        self._pipe.send(("", None))


def test_a_peer_that_has_ended_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("spawn")
    monkeypatch.setattr(context, "Process", EndedProcess)
    monkeypatch.setattr("multiprocessing.get_context", lambda method: context)
    peer = PeerProcess("peft", tmp_path, tmp_path, SHORT, "int8", 1)
    with pytest.raises(BrokenPipeError):
        peer._pipe.send((1, 1))
    with pytest.raises(EngineError, match="peer peft failed: its process ended"):
        peer(1, 1)


def run_command(arguments: Sequence[str]) -> Any:
    app = build_app(())
    register(app)
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["engine", "--dims", "huge"], SettingsError, "m2m100-418m, nllb-600m, small"),
        (["engine", "--batch", "1,x"], SettingsError, "--batch '1,x'"),
        (["engine", "--batch", "0"], SettingsError, "from 1"),
        (["engine", "--kinds", "magic", "--dims", "small"], SettingsError, "bottleneck, lora"),
        (["engine", "--budget", "1e-9", "--dims", "small"], BudgetError, "needs at least"),
        (["engine", "--against", "vllm"], SettingsError, "vllm"),
        (["engine", "--vocabulary", "some"], SettingsError, "full or language"),
        (
            ["engine", "--dims", "small", "--vocabulary", "language", "--pieces", "8191"],
            SettingsError,
            "256 to 8190",
        ),
        (["engine", "--json", "/nowhere/x.json"], SettingsError, "/nowhere/x.json"),
        (["residency", "--distribution", "normal"], SettingsError, "zipf or uniform"),
        (["residency", "--slots", "0"], SettingsError, "--slots is 0"),
    ],
)
def test_bad_options_are_named(arguments: list[str], error: type[Exception], words: str) -> None:
    result = run_command(["bench", *arguments])
    assert isinstance(result.exception, error), result.output
    assert words in str(result.exception)


@pytest.mark.parametrize("command", ["engine", "residency"])
def test_a_folder_that_is_a_file_is_named(tmp_path: Path, command: str) -> None:
    file = tmp_path / "weights"
    file.touch()
    result = run_command(["bench", command, "--dims", "small", "--folder", str(file)])
    assert isinstance(result.exception, SettingsError), result.output
    assert f"--folder {file}" in str(result.exception)


def test_the_command_writes_its_figures(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    result = run_command(
        [
            *("bench", "engine", "--dims", "small", "--batch", "1", "--rounds", "1"),
            *("--threads", "1", "--no-memory", "--folder", str(folder), "--json", str(target)),
            *("--vocabulary", "language", "--pieces", "512"),
        ]
    )
    assert result.exit_code == 0, result.exception
    found = json.loads(target.read_text())
    assert {row["engine"] for row in found["rows"]} == {"base", "mixed", "listed"}
    assert found["workload"]["pieces"] == 512
    assert 0 <= found["memory"]["shortlist_tables_bytes"] < 512 * 300
    assert "mixed" in result.output
