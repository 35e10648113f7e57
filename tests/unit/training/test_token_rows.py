"""Rows of the token table: which are trained, how fast, what it costs, and what is published."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
from safetensors.torch import load_file
from torch import nn

from hub.bases import Base
from hub.bases.tokenizer import BaseTokenizer
from hub.budget import ModelDimensions
from hub.engine.testing import random_model
from hub.errors import BudgetError, SettingsError
from hub.registry import Registry
from training.corpora import SentencePair
from training.defaults import Overrides, rows_rate
from training.evidence.reevaluate import evaluate_ref
from training.loop.batching import Example
from training.loop.interrupt import Never
from training.loop.loss import Layout, collate, smoothed_loss
from training.loop.model import (
    adapter_files,
    attach,
    attach_config,
    load_base_model,
    quiet_libraries,
    trainable,
)
from training.loop.progress import Silent, UpdateReport
from training.loop.projection import frozen_weight
from training.loop.trainer import Trainer
from training.methods.catalog import METHODS
from training.methods.tokens import QuickRows, own_rows
from training.pieces import frequent_pieces, settled
from training.pipeline import train_adapter
from training.recipe import Recipe
from training.runs import RunFolder
from training.work import TrainRequest

Options = Mapping[str, str | bool | int]
ROWS: Options = {"token_rows": 20}
CASES: list[tuple[str, str, Options, int]] = [
    ("m2m_100", "tokens", {}, 20), ("m2m_100", "lora", ROWS, 2), ("m2m_100", "bottleneck", ROWS, 3),
    ("mbart", "norms", ROWS, 0), ("t5", "tokens", {}, 20), ("t5", "lora", ROWS, 2),
    ("marian", "lora", ROWS, 2),
]  # fmt: skip
PIECES = tuple(range(50, 30, -1))


def adapted(family: str, name: str, options: Options, size: int) -> Any:
    with quiet_libraries():
        model = random_model(family, 0, {})
        config = METHODS[name].build(size, options, family, PIECES)
        found = attach_config(model, config, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    for parameter in trainable(found).values():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return found


def kinds(model: nn.Module, kind: type[nn.Module]) -> None:
    """Let layers of trainable tokens be of a kind, and think that they are trained."""
    for module in model.modules():
        if isinstance(module, TrainableTokensLayer):
            module.__class__ = kind
            module.training = True


@pytest.mark.parametrize(("family", "name", "options", "size"), CASES)
@pytest.mark.parametrize("fused", [True, False])
def test_quick_layers_have_the_loss_and_the_gradients_of_pefts(
    family: str, name: str, options: Options, size: int, fused: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    model = adapted(family, name, options, size)
    batch = collate(
        [Example((5, 44, 40, 2), (6, 41, 33, 50, 2), 0), Example((5, 45, 60, 2), (6, 36, 2), 1)],
        Layout(1, 2, 1),
    )  # fmt: skip
    if not fused:
        monkeypatch.setattr("training.loop.loss.frozen_weight", lambda head: None)
    found = []
    for kind in (QuickRows, TrainableTokensLayer):
        kinds(model, kind)
        own = own_rows(model.get_output_embeddings())
        assert (own is not None) == (kind is QuickRows)
        if own is not None and fused:
            assert frozen_weight(own.table) is not None
        model.zero_grad()
        loss = smoothed_loss(model, batch, 0.1)
        loss.backward()
        found.append((loss.detach(), {n: p.grad.clone() for n, p in trainable(model).items()}))
    (quick, own_gradients), (plain, expected) = found
    torch.testing.assert_close(quick, plain, atol=1e-5, rtol=1e-5)
    rows = [n for n in expected if "tokens_delta" in n]
    assert len(rows) == 1
    assert (expected[rows[0]].abs().amax(1) > 0).all()
    for parameter, gradient in expected.items():
        bound = float(gradient.abs().max())
        torch.testing.assert_close(own_gradients[parameter], gradient, atol=1e-5 * bound, rtol=1e-3)


@pytest.mark.parametrize(
    ("family", "name", "options", "size"), [case for case in CASES if case[1] in ("tokens", "lora")]
)
def test_peft_alone_loads_what_is_saved(
    family: str, name: str, options: Options, size: int, tmp_path: Path
) -> None:
    model = adapted(family, name, options, size)
    for file, content in adapter_files(model, "random").items():
        (tmp_path / file).write_bytes(content)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(each.endswith("tokens_delta") for each in saved) == 1
    assert sum(t.numel() for t in saved.values()) == sum(
        p.numel() for p in trainable(model).values()
    )
    with quiet_libraries():
        plain = random_model(family, 0, {})
        theirs = PeftModel.from_pretrained(copy.deepcopy(plain), str(tmp_path)).eval()
    given = {
        "input_ids": torch.tensor([[5, 44, 40, 2]]),
        "decoder_input_ids": torch.tensor([[2, 6, 41, 33]]),
    }
    with torch.no_grad():
        assert torch.equal(theirs(**given).logits, model(**given).logits)
        assert not torch.allclose(plain(**given).logits, theirs(**given).logits, atol=1e-2)


def test_pieces_are_those_of_the_targets_by_frequency(tokenizer: BaseTokenizer) -> None:
    prefix = tokenizer.target_prefix("de")[0]
    end, unknown = tokenizer.eos_id, tokenizer.unk_id
    targets = [(prefix, 40, 50, 50, end), (prefix, 60, 40, 50, unknown, end), (prefix, 30, end)]
    assert frequent_pieces(targets, tokenizer) == (50, prefix, 40, 30, 60)


def segments(*targets: str) -> list[SentencePair]:
    return [SentencePair("a b", target, "text", f"file:{n}") for n, target in enumerate(targets)]


def test_rows_that_the_texts_have_no_pieces_for_go_to_the_method(
    tiny_base: Base, tokenizer: BaseTokenizer, make_recipe: Callable[..., Recipe]
) -> None:
    lines = segments("zwei Stunden", "zwei Tage", "drei Tage")
    asked = make_recipe(method="tokens", size=500, options={})
    recipe, pieces = settled(asked, tiny_base, tokenizer, lines)
    assert 4 < len(pieces) == recipe.size < 20
    few, some = settled(replace(asked, size=3), tiny_base, tokenizer, lines)
    assert (few.size, some) == (3, pieces[:3])

    options = {**METHODS["bottleneck"].options, "token_rows": 200}
    dims, budget = tiny_base.dimensions, 0.05
    solution = METHODS["bottleneck"].solve(dims, options, budget=budget, size=None)
    beside = make_recipe(size=solution.size, budget=budget, options=options)
    recipe, again = settled(beside, tiny_base, tokenizer, lines)
    assert again == pieces
    assert recipe.options["token_rows"] == len(pieces)
    # A unit of a bottleneck after each of 4 layers: 4 (2 d + 1), with d = 24.
    freed = (200 - len(pieces)) * 24
    assert recipe.size - solution.size in (freed // 196, freed // 196 + 1)
    assert settled(make_recipe(), tiny_base, tokenizer, lines) == (make_recipe(), ())


def dims(**changes: Any) -> ModelDimensions:
    plain = {
        "d_model": 10, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn": 20,
        "decoder_ffn": 20, "vocab_size": 300, "max_positions": 50, "parameters": 10_000,
    }  # fmt: skip
    return ModelDimensions(**(plain | changes))


def test_a_budget_is_shared_by_rows_and_method() -> None:
    tokens = METHODS["tokens"]
    found = tokens.solve(dims(), {}, budget=0.1, size=None)
    assert (found.size, found.trainable_parameters) == (100, 1000)
    assert tokens.solve(dims(), {}, budget=1.0, size=None).size == 300  # the whole vocabulary
    with pytest.raises(BudgetError, match="between 1 and 300"):
        tokens.solve(dims(), {}, budget=None, size=301)

    lora = METHODS["lora"]
    options = lora.complete({"token_rows": 40})
    # q and v of 3 attentions: 2 (10 + 10) a rank, each.
    assert lora.solve(dims(), options, budget=0.1, size=None).size == (1000 - 400) // 120
    assert lora.solve(dims(), options, budget=None, size=2).trainable_parameters == 400 + 240
    many = lora.complete({"token_rows": 95})
    with pytest.raises(BudgetError, match=r"1,070 at rank 1 and with the 950 of its token rows"):
        lora.solve(dims(), many, budget=0.1, size=None)


def test_what_has_no_rows_is_refused() -> None:
    with pytest.raises(BudgetError, match="this base's output is a table of its own"):
        METHODS["tokens"].solve(dims(tied=False), {}, budget=0.1, size=None)
    with pytest.raises(BudgetError, match="this base's output is a table of its own"):
        METHODS["lora"].solve(
            dims(tied=False), METHODS["lora"].complete({"token_rows": 4}), budget=0.1, size=None
        )
    for name in ("ia3", "tokens", "full"):
        with pytest.raises(SettingsError, match="has no option --token-rows"):
            METHODS[name].complete({"token_rows": 4})
    for value in (0, -1, True, "many"):
        with pytest.raises(SettingsError, match="must be 1 or more"):
            METHODS["lora"].complete({"token_rows": value})
    with pytest.raises(SettingsError, match="only beside another method"):
        METHODS["tokens"].build(4, {}, "marian")


class Losses(Silent):
    def __init__(self) -> None:
        self.seen: list[UpdateReport] = []

    def updated(self, report: UpdateReport) -> None:
        self.seen.append(report)


def test_rows_beside_a_method_learn_at_their_own_rate(
    tiny_base: Base, tokenizer: BaseTokenizer, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """Adam's first step moves every number by its rate."""
    options = {**METHODS["bottleneck"].options, "token_rows": 5}
    recipe = make_recipe(options=options, max_updates=1, evaluate_every=1, warmup=0, dropout=0.0)
    factor = rows_rate(recipe, tiny_base.dimensions)
    specs = METHODS["tokens"], METHODS["bottleneck"]
    assert factor == pytest.approx(specs[0].small_base_rate / specs[1].small_base_rate)
    assert factor < 1
    targets = tuple(tokenizer.encode_target("zwei Stunden und ein Tag", "de"))
    example = Example(tuple(tokenizer.encode_source("two hours", "en")), targets, 0)
    model = attach(
        load_base_model(tiny_base, dropout=0.0), METHODS["bottleneck"], recipe,
        frequent_pieces([targets], tokenizer)[:5],
    )  # fmt: skip
    before = {name: each.detach().clone() for name, each in trainable(model).items()}
    Trainer(
        model, [example] * 4, recipe, layout=Layout(1, 2, 1), progress=Silent(), stop=Never(),
        run=RunFolder.create(tmp_path, recipe), snapshot=lambda: adapter_files(model, "tiny"),
        judge=lambda folder: 1.0, rows_rate=factor,
    ).train()  # fmt: skip
    moved = {
        n: float((each.detach() - before[n]).abs().max()) for n, each in trainable(model).items()
    }
    for name, most in moved.items():
        rate = factor if "tokens_delta" in name else 1.0
        if "_down" not in name and "_norm" not in name:  # what stands before a zero stays at first
            assert most == pytest.approx(recipe.learning_rate * rate, rel=0.02), name


QUICK = Overrides(
    train=80, dev=20, test=20, max_updates=12, evaluate_every=12, warmup=1, tokens_per_batch=256,
    dev_lines=4, precision="float32",
)  # fmt: skip


@pytest.mark.parametrize(
    ("method", "options", "budget"),
    [("tokens", {}, 0.02), ("bottleneck", {"token_rows": 30}, 0.02), ("lora", ROWS, 0.02)],
)
def test_trains_publishes_and_is_scored_again(
    tiny_base: Base, tmp_path: Path, method: str, options: Options, budget: float
) -> None:
    request = TrainRequest(
        pair="en-de", method=method, options=dict(options), budget=budget,
        base=str(tiny_base.folder), overrides=QUICK, registry=str(tmp_path / "registry"),
        runs=tmp_path / "runs", force=True,
    )  # fmt: skip
    heard = Losses()
    outcome = train_adapter(request, heard)
    losses = [report.loss for report in heard.seen]
    assert losses[-1] < losses[0]
    manifest = outcome.manifest
    rows = manifest.size if method == "tokens" else int(options["token_rows"])
    assert manifest.table_rows == rows > 0
    assert manifest.realised_fraction <= budget
    assert (manifest.token_rows > 0) == (method != "tokens")
    assert outcome.version is not None
    assert outcome.version.ref == f"en-de.{method}{'-tokens' if options else ''}:1"
    config = json.loads((outcome.folder / "adapter_config.json").read_text())
    listed = config["token_indices" if method == "tokens" else "trainable_token_indices"]
    assert len(listed) == len(set(listed)) == rows
    assert listed != sorted(listed)
    with Registry.open(request.registry) as registry:
        assert registry.resolve(outcome.version.ref).manifest == manifest
    again = evaluate_ref(
        outcome.version.ref, registry=request.registry, base_ref=str(tiny_base.folder),
        quantization="int8", progress=Silent(),
    )  # fmt: skip
    assert again.scores == manifest.scores
