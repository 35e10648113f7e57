"""`hub bench train`: both trainers do the same work, and the figures are what they say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from hub.bases import Base
from hub.bench.models import random_base
from hub.cli import build_app
from hub.errors import BudgetError, SettingsError
from training.bench.passes import OURS, Pass, passes_of
from training.bench.peer import collate_plain, grouped_batches, load_plain, trainer_passes
from training.bench.run import rows_of, take_turns
from training.bench.work import LAYOUT, Content, TrainWork
from training.commands import register
from training.loop.batching import padded_tokens
from training.loop.loss import collate, smoothed_loss
from training.loop.model import adapter_tensors, attach, load_base_model
from training.methods.catalog import method

WORK = TrainWork(
    dims="small", method="bottleneck", budget=0.01, tokens=160, updates=3, precision="float32",
    dropout=0.0, label_smoothing=0.0, learning_rate=1e-2,
)  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return random_base("small", tmp_path_factory.mktemp("bench"))


def test_lengths_vary_and_batches_keep_to_the_tokens() -> None:
    work = replace(WORK, tokens=1024, updates=20)
    examples = work.examples()
    assert examples == work.examples()
    sources = sorted(len(one.source) for one in examples)
    assert 15 < sources[len(sources) // 2] < 25
    assert sources[len(sources) // 10] < 12
    assert sources[9 * len(sources) // 10] > 35
    batches = work.batches(examples)
    assert len(batches) == 20
    lengths = [[examples[index].lengths for index in batch] for batch in batches]
    assert all(padded_tokens(batch) <= 1024 for batch in lengths)
    content = Content.of(examples, batches)
    assert content.source == sum(one for batch in lengths for one, _ in batch)
    positions = sum(map(padded_tokens, lengths))
    assert content.padding == 1 - (content.source + content.target) / positions
    assert 0 < content.padding < 0.12


def test_padding_by_hand() -> None:
    examples = WORK.examples()
    chosen = sorted(range(40), key=lambda index: len(examples[index].source))[:: 39 // 2]
    lengths = [examples[index].lengths for index in chosen]
    longest = max(one for one, _ in lengths) + max(one for _, one in lengths)
    real = sum(map(sum, lengths))
    assert Content.of(examples, [chosen]).padding == 1 - real / (len(chosen) * longest)


def test_the_trainers_own_batches_have_as_many_sentences_and_are_grouped() -> None:
    work = replace(WORK, tokens=1024, updates=20)
    examples = work.examples()
    ours, theirs = work.batches(examples), grouped_batches(work, examples)
    assert len(theirs) == 20
    assert len(set(map(len, theirs))) == 1
    assert len(theirs[0]) == pytest.approx(sum(map(len, ours)) / 20, abs=0.5)
    assert len({index for batch in theirs for index in batch}) == sum(map(len, theirs))
    shuffled = [[index * 20 + row for row in range(len(theirs[0]))] for index in range(20)]
    apart = Content.of(examples, shuffled).padding
    assert Content.of(examples, theirs).padding < 0.6 * apart


@pytest.mark.parametrize(("name", "smoothing"), [("bottleneck", 0.0), ("lora", 0.1)])
def test_both_train_the_same_adapter(base: Base, name: str, smoothing: float) -> None:
    """What is compared for speed does the same: losses at the start, weights at the end."""
    work = replace(WORK, method=name, label_smoothing=smoothing)
    examples = work.examples()
    recipe = work.recipe(base.dimensions, examples)
    ours = attach(load_base_model(base, dropout=0.0), method(name), recipe)
    theirs = load_plain(work, base.folder, half_base=False)
    for module in [*ours.modules(), *theirs.modules()]:
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    start = {key: value.clone() for key, value in adapter_tensors(ours).items()}
    assert all(torch.equal(start[key], value) for key, value in adapter_tensors(theirs).items())
    rows = [{"example": examples[index]} for index in work.batches(examples)[0]]
    with torch.no_grad():
        loss = smoothed_loss(ours, collate([row["example"] for row in rows], LAYOUT), 0.0)
        assert theirs(**collate_plain(rows)).loss.item() == pytest.approx(loss.item(), rel=1e-5)
    mine = passes_of(ours, work, base)()
    other = trainer_passes(theirs, work, same_batches=True)()
    assert (mine.updates, mine.content) == (other.updates, other.content)
    assert mine.updates == 3
    trained, again = adapter_tensors(ours), adapter_tensors(theirs)
    for key, value in trained.items():
        torch.testing.assert_close(again[key], value, rtol=0, atol=2e-3)
    assert max(float((trained[key] - start[key]).abs().max()) for key in start) > 0.02


def one(seconds: float, tokens: int = 100) -> Pass:
    return Pass(seconds, 5, Content(tokens // 2, tokens // 2, 0.1))


def test_rows_by_hand() -> None:
    passes = {OURS: [one(1.0), one(2.0), one(4.0)], "transformers": [one(2.0), one(2.0), one(5.0)]}
    ours, theirs = rows_of("float32", passes)
    assert (ours["tokens_per_s"], ours["tokens_per_s_min"], ours["tokens_per_s_max"]) == (
        50.0, 25.0, 100.0,
    )  # fmt: skip
    assert ours["ratio"] == 1.0
    assert theirs["ratio"] == 1.25  # of 2, 1 and 1.25 in the three rounds
    assert theirs["seconds_per_update"] == 0.4


def test_trainers_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def trainer(name: str) -> Any:
        def train() -> Pass:
            order.append(name)
            return one(float(len(order)))

        return train

    found = take_turns({"a": trainer("a"), "b": trainer("b")}, 2, settle=lambda: None)
    assert order == ["a", "b"] * 3
    assert [made.seconds for made in found["a"]] == [3.0, 5.0]


def run_command(arguments: Sequence[str]) -> Any:
    app = build_app(())
    register(app)
    return CliRunner().invoke(app, ["bench", "train", *arguments])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--dims", "huge"], SettingsError, "m2m100-418m, nllb-600m, small"),
        (["--against", "fairseq"], SettingsError, "transformers-grouped"),
        (["--tokens", "0"], SettingsError, "--tokens is 0"),
        (["--precision", "int8"], SettingsError, "float32, bfloat16"),
        (["--method", "magic"], SettingsError, "bottleneck"),
        (["--budget", "1e-9"], BudgetError, "needs at least"),
        (["--precision", ","], SettingsError, "--precision names none"),
        (["--dropout", "2"], SettingsError, "--dropout is 2"),
        (["--label-smoothing", "1"], SettingsError, "--label-smoothing is 1"),
        (["--json", "."], SettingsError, "--json . cannot be written"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    base: Base, arguments: list[str], error: type[Exception], words: str
) -> None:
    found = run_command([*arguments, "--folder", str(base.folder.parent)])
    assert isinstance(found.exception, error)
    assert words in str(found.exception)


@pytest.mark.slow
def test_the_command_end_to_end(base: Base, tmp_path: Path) -> None:
    found = run_command(
        [
            "--tokens", "128", "--updates", "2", "--rounds", "1", "--threads", "1",
            "--precision", "float32", "--label-smoothing", "0.1",
            "--against", "transformers,transformers-half,transformers-grouped",
            "--folder", str(base.folder.parent), "--json", str(tmp_path / "x.json"),
        ]
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    written = json.loads((tmp_path / "x.json").read_text())
    assert [(row["precision"], row["trainer"]) for row in written["rows"]] == [
        ("float32", name) for name in (OURS, "transformers", "transformers-grouped")
    ]
    for row in written["rows"]:
        assert row["tokens_per_s"] > 0 < row["ratio"]
        assert row["source_tokens"] > 0 < row["target_tokens"]
        assert 0 <= row["padding"] < 1
    work = written["workload"]
    assert (work["method"], work["size"], work["updates"], work["rounds"]) == (
        "bottleneck", 21, 2, 1,
    )  # fmt: skip
    assert written["machine"]["threads"] == 1
    assert written["versions"]["transformers"]
    assert "ours ÷ it" in found.output
