"""The loop on a tiny model: it learns, repeats itself, goes on, stops, and keeps what is good."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hub.bases import Base
from hub.bases.tokenizer import BaseTokenizer
from hub.errors import InterruptedRunError, SettingsError, StorageFullError, TrainingDivergedError
from tests.unit.training.conftest import encode_lines
from training.loop.batching import Example
from training.loop.interrupt import Never, StopRequest
from training.loop.loss import Layout, collate, smoothed_loss
from training.loop.model import adapter_files, attach, load_base_model, trainable
from training.loop.progress import Silent, UpdateReport
from training.loop.trainer import SKIPS_ALLOWED, Trainer, TrainingResult
from training.methods.catalog import method
from training.recipe import Recipe
from training.runs import RunFolder

LAYOUT = Layout(pad_id=1, decoder_start_id=2, forced=1)
Judge = Callable[[Path], float]


class Bench:
    """One run of one recipe in one folder, with everything that can be swapped."""

    def __init__(self, base: Base, examples: Sequence[Example], recipe: Recipe, root: Path) -> None:
        self.recipe = recipe
        self.examples = examples
        self.run = RunFolder.create(root, recipe)
        self.model = attach(
            load_base_model(base, dropout=recipe.dropout, precision=recipe.precision),
            method(recipe.method),
            recipe,
        )
        self.seen: list[UpdateReport] = []

    def train(self, judge: Judge | None = None, stop: Any = None) -> TrainingResult:
        bench = self

        class Recorder(Silent):
            def updated(self, report: UpdateReport) -> None:
                bench.seen.append(report)

        return Trainer(
            self.model,
            self.examples,
            self.recipe,
            layout=LAYOUT,
            run=self.run,
            snapshot=lambda: adapter_files(self.model, "tiny"),
            judge=judge or rising(),
            progress=Recorder(),
            stop=stop or Never(),
        ).train()

    def loss(self) -> float:
        self.model.eval()
        with torch.no_grad():
            return float(smoothed_loss(self.model, collate(self.examples, LAYOUT), 0.1))

    def weights(self, name: str = "best") -> bytes:
        return (self.run.path / name / "adapter_model.safetensors").read_bytes()


def rising() -> Judge:
    """A dev score that is better at every look."""
    scores = iter(range(1, 1000))
    return lambda folder: float(next(scores))


def scripted(*scores: float) -> Judge:
    left: Iterator[float] = iter(scores)
    return lambda folder: next(left)


@pytest.fixture(scope="module")
def examples(tokenizer: BaseTokenizer) -> list[Example]:
    lines = [(f"{n} hours ago", f"vor {n} Stunden") for n in range(2, 26)]
    return encode_lines(tokenizer, lines)


@pytest.fixture
def bench(
    tiny_base: Base,
    examples: list[Example],
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
) -> Callable[..., Bench]:
    def make(root: str = "runs", **changes: Any) -> Bench:
        return Bench(tiny_base, examples, make_recipe(**changes), tmp_path / root)

    return make


@pytest.mark.parametrize("name", ["bottleneck", "lora"])
def test_learns_and_leaves_the_base_alone(bench: Callable[..., Bench], name: str) -> None:
    run = bench(method=name, max_updates=20, evaluate_every=20, dropout=0.0)
    adapter = set(trainable(run.model))
    frozen = {n: p.clone() for n, p in run.model.named_parameters() if n not in adapter}
    before = run.loss()
    result = run.train()
    assert run.loss() < before - 0.1
    assert (result.steps, result.why, result.best_step) == (20, "max-updates", 20)
    now = dict(run.model.named_parameters())
    assert all(torch.equal(now[n], value) for n, value in frozen.items())


def test_same_recipe_same_bytes_other_seed_other_bytes(bench: Callable[..., Bench]) -> None:
    runs = [bench("a"), bench("b"), bench("c", seed=2)]
    for run in runs:
        run.train()
    assert runs[0].weights() == runs[1].weights()
    assert runs[0].weights() != runs[2].weights()


def test_global_generator_is_neither_read_nor_moved(bench: Callable[..., Bench]) -> None:
    torch.manual_seed(1)
    first = bench("a")
    first.train()
    left = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(left, torch.rand(1))
    torch.manual_seed(99)
    second = bench("b")
    second.train()
    assert first.weights() == second.weights()


@pytest.mark.parametrize("stopped_at", [1, 4, 6])
def test_going_on_ends_where_the_uninterrupted_run_ends(
    bench: Callable[..., Bench], stopped_at: int
) -> None:
    whole = bench("whole")
    whole.train()
    stop = StopRequest()
    first = bench("parts")
    with pytest.raises(InterruptedRunError):
        first.train(stop=_StopAfter(first, stopped_at))
    assert len(first.seen) == stopped_at
    second = bench("parts")
    assert second.run.unfinished
    second.train(stop=stop)
    assert len(second.seen) == 8 - stopped_at
    assert second.weights("last") == whole.weights("last")


class _StopAfter:
    """Asks for a stop after some updates."""

    def __init__(self, bench: Bench, updates: int) -> None:
        self._bench = bench
        self._updates = updates

    @property
    def requested(self) -> bool:
        return len(self._bench.seen) >= self._updates


def test_interrupted_before_any_score_still_leaves_an_adapter(bench: Callable[..., Bench]) -> None:
    run = bench()
    with pytest.raises(InterruptedRunError, match="stopped after update 2") as caught:
        run.train(stop=_StopAfter(run, 2))
    assert str(run.run.last) in caught.value.message
    assert caught.value.exit_code == 130
    assert run.weights("best") == run.weights("last")
    assert json.loads((run.run.path / "summary.json").read_text())["ended"] == "interrupted"


def test_interrupted_after_a_score_keeps_the_best(bench: Callable[..., Bench]) -> None:
    run = bench()
    with pytest.raises(InterruptedRunError) as caught:
        run.train(stop=_StopAfter(run, 5))
    assert str(run.run.best) in caught.value.message
    assert run.weights("best") != run.weights("last")


def test_patience_ends_the_run_and_the_best_is_kept(bench: Callable[..., Bench]) -> None:
    run = bench(max_updates=100, evaluate_every=1, patience=3)
    kept: dict[int, bytes] = {}
    scores = iter([5.0, 7.0, 6.0, 6.5, 7.0, 99.0])

    def judge(folder: Path) -> float:
        kept[len(kept) + 1] = (folder / "adapter_model.safetensors").read_bytes()
        return next(scores)

    result = run.train(judge)
    assert (result.why, result.steps, result.best_step) == ("patience", 5, 2)
    assert result.best_score == 7.0
    assert run.weights("best") == kept[2]
    assert len(set(kept.values())) == 5


def test_log_and_reports(bench: Callable[..., Bench]) -> None:
    run = bench(max_updates=10, evaluate_every=5)
    run.train()
    records = [json.loads(line) for line in run.run.log_file.read_text().splitlines()]
    assert [r["dev_chrf++"] for r in records if "dev_chrf++" in r] == [1.0, 2.0]
    assert [r["step"] for r in records if "loss" in r] == [10]
    assert [report.step for report in run.seen] == list(range(1, 11))
    assert run.seen[4].dev_score is None
    assert run.seen[5].dev_score == 1.0
    assert run.seen[0].learning_rate == pytest.approx(0.005)


def test_a_loss_that_is_not_finite_ends_the_run_and_names_step_and_lines(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench(max_updates=50, evaluate_every=2)
    poison_from(monkeypatch, 5, 50)
    with pytest.raises(TrainingDivergedError, match=r"update 8 on line \d+, ") as caught:
        run.train()
    assert caught.value.metadata["step"] == str(4 + SKIPS_ALLOWED + 1)
    assert str(run.run.best) in caught.value.message
    tensors = load_file(run.run.best / "adapter_model.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def test_a_few_bad_updates_are_left_out(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench(max_updates=10)
    poison_from(monkeypatch, 3, 3 + SKIPS_ALLOWED)
    assert run.train().steps == 10
    assert all(bool(p.isfinite().all()) for p in trainable(run.model).values())


def poison_from(monkeypatch: pytest.MonkeyPatch, first: int, end: int) -> None:
    """Make the losses of updates first to end - 1 NaN."""
    calls = iter(range(1, 1000))

    def poisoned(model: Any, batch: Any, smoothing: float) -> Tensor:
        loss = smoothed_loss(model, batch, smoothing)
        return loss * float("nan") if first <= next(calls) < end else loss

    monkeypatch.setattr("training.loop.gradients.smoothed_loss", poisoned)


def test_a_full_disk_keeps_the_checkpoint_before(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    run = bench(evaluate_every=2)
    good: list[bytes] = []

    def fill_disk(folder: Path) -> float:
        if run.run.best.is_dir():
            good.append(run.weights("best"))

            def full(handle: int) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr("os.fsync", full)
        return float(len(good) + 1)

    with pytest.raises(StorageFullError, match="no room left"):
        run.train(fill_disk)
    assert run.weights("best") == good[0]
    assert not list(run.run.path.rglob(".*"))


def test_a_damaged_state_is_refused_with_the_remedy(bench: Callable[..., Bench]) -> None:
    run = bench()
    with pytest.raises(InterruptedRunError):
        run.train(stop=_StopAfter(run, 3))
    content = run.run.state.read_bytes()
    run.run.state.write_bytes(content[: len(content) // 2])
    with pytest.raises(SettingsError, match="--no-resume"):
        bench().train()


def test_bfloat16_products_keep_a_float32_adapter_and_an_exact_model(
    bench: Callable[..., Bench],
) -> None:
    exact, half = bench("a"), bench("b", precision="bfloat16", dropout=0.0)
    assert exact.loss() == half.loss(), "outside training the products are exact"
    half.model.train()
    with torch.no_grad():
        rounded = float(smoothed_loss(half.model, collate(half.examples, LAYOUT), 0.1))
    assert rounded != half.loss()
    assert rounded == pytest.approx(half.loss(), rel=0.02)
    before = half.loss()
    half.train()
    assert half.loss() < before
    assert {p.dtype for p in trainable(half.model).values()} == {torch.float32}
    tensors = load_file(half.run.best / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert not [name for name in half.model.state_dict() if "half_" in name]
