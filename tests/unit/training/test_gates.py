"""The gates let through what is right and stop what is not, naming it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hub.bases import Base
from hub.bases.tokenizer import BaseTokenizer
from hub.errors import (
    AdapterBindingError,
    BudgetError,
    EqualityGateError,
    QualityGateError,
    WrongBaseError,
)
from hub.manifest import (
    AdapterManifest,
    BaseReference,
    ComparisonRecord,
    CorpusReference,
    LengthRecord,
    LengthScore,
    ScoreRecord,
)
from training.evidence.card import model_card
from training.evidence.decode import Decoder
from training.evidence.scoring import METRICS
from training.gates.checks import check_budget, check_finite, check_quality
from training.gates.equality import EqualityEvidence, GateLine, check_equality
from training.loop.model import (
    adapter_files,
    attach,
    count_trainable,
    load_adapter,
    load_base_model,
    trainable,
)
from training.methods.catalog import METHODS, method
from training.recipe import Recipe

TEXTS = ("2 hours ago", "Friday, October 3", "41%", "Croatia and Latvia")


@pytest.fixture(scope="module")
def decoder(tiny_base: Base, tokenizer: BaseTokenizer) -> Decoder:
    return Decoder(tiny_base, tokenizer, "float32")


@pytest.fixture(scope="module")
def lines(tokenizer: BaseTokenizer) -> list[GateLine]:
    prefix = tuple(tokenizer.target_prefix("de"))
    return [GateLine(tuple(tokenizer.encode_source(text, "en")), prefix) for text in TEXTS]


@pytest.fixture
def adapted(
    tiny_base: Base, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> Callable[..., tuple[Any, Path]]:
    """Return a maker of a model with an adapter that acts, and its folder."""

    def make(name: str = "bottleneck", seed: int = 1) -> tuple[Any, Path]:
        recipe = make_recipe(method=name, size=4 if METHODS[name].size_name else 0)
        model = attach(load_base_model(tiny_base, dropout=0.0), method(name), recipe).eval()
        generator = torch.Generator().manual_seed(seed)
        for parameter in trainable(model).values():
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
        folder = tmp_path / f"{name}-{seed}"
        folder.mkdir()
        for file, content in adapter_files(model, "tiny").items():
            (folder / file).write_bytes(content)
        return model, folder

    return make


def manifest(tiny: Base, trainable_parameters: int, **changes: Any) -> AdapterManifest:
    plain: dict[str, Any] = {
        "pair": "en-de",
        "method": "bottleneck",
        "size": 4,
        "budget": None,
        "trainable_parameters": trainable_parameters,
        "base": BaseReference(
            name="tiny", digest=tiny.digest, parameters=tiny.dimensions.parameters
        ),
        "corpus": CorpusReference(
            name="cldr", fingerprint="sha256:1", licence="Unicode-3.0", train=9, dev=2, test=2
        ),
        "recipe_digest": "sha256:" + "0" * 64,
        "seed": 1,
    }
    return AdapterManifest(**(plain | changes))


def scores(base: float, adapter: float) -> tuple[ScoreRecord, ...]:
    return tuple(
        ScoreRecord(metric=metric, system=system, value=value, signature="s", items=2)
        for metric in METRICS
        for system, value in (("base", base), ("adapter", adapter))
    )


def compared(base: float, adapter: float, p_worse: float) -> dict[str, Any]:
    """Return what a manifest gains when the adapter was compared with its base."""
    delta = adapter - base
    found = ComparisonRecord(
        metric="chrf++", against="base", delta=delta, low=delta - 1, high=delta + 1,
        p_value=0.25, p_worse=p_worse, signature="s|bs:1000|seed:12345",
    )  # fmt: skip
    return {"scores": scores(base, adapter), "comparisons": (found,)}


def test_equality_stops_an_adapter_that_is_not_the_one_trained(
    adapted: Callable[..., tuple[Any, Path]], decoder: Decoder, lines: list[GateLine]
) -> None:
    model, _ = adapted(seed=1)
    _, other = adapted(seed=2)
    decoder.place(other)
    with pytest.raises(EqualityGateError, match=r"adapter row 1, token \d+"):
        check_equality(model, decoder, lines)


def test_equality_stops_an_engine_that_serves_the_base_instead(
    adapted: Callable[..., tuple[Any, Path]], decoder: Decoder, lines: list[GateLine]
) -> None:
    model, folder = adapted()
    tensors = load_file(folder / "adapter_model.safetensors")
    idle = {n: t * 0 if "bottleneck_up" in n else t for n, t in tensors.items()}
    save_file(idle, folder / "adapter_model.safetensors")
    decoder.place(folder)
    with pytest.raises(EqualityGateError, match="not published"):
        check_equality(model, decoder, lines)


def test_finite(adapted: Callable[..., tuple[Any, Path]]) -> None:
    _, folder = adapted()
    check_finite(folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    name = sorted(tensors)[3]
    tensors[name].view(-1)[0] = math.inf
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(AdapterBindingError, match=name):
        check_finite(folder)


def test_a_tensor_that_does_not_fit_is_not_loaded(
    adapted: Callable[..., tuple[Any, Path]],
) -> None:
    model, folder = adapted()
    tensors = load_file(folder / "adapter_model.safetensors")
    gone = sorted(tensors)[0]
    del tensors[gone]
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(AdapterBindingError, match=gone):
        load_adapter(model, folder)


def test_budget(tiny_base: Base, adapted: Callable[..., tuple[Any, Path]]) -> None:
    model, _ = adapted()
    real = count_trainable(model)
    share = real / tiny_base.dimensions.parameters
    check_budget(manifest(tiny_base, real), real)
    check_budget(manifest(tiny_base, real, budget=share), real)
    with pytest.raises(BudgetError, match="over the budget"):
        check_budget(manifest(tiny_base, real, budget=share * 0.99), real)
    with pytest.raises(BudgetError, match="bug in the arithmetic"):
        check_budget(manifest(tiny_base, real - 1), real)


def test_quality_is_refused_where_the_loss_is_no_chance(tiny_base: Base) -> None:
    bare = manifest(tiny_base, 10)
    for p_worse in (1.0, 0.06, 0.05):
        check_quality(bare.model_copy(update=compared(20.0, 19.0, p_worse)), force=False)
    worse = bare.model_copy(update=compared(20.0, 18.5, 0.049))
    said = (
        r"chrF\+\+ 18\.5 .* base 20\.0; difference -1\.50, 95 % interval -2\.50 to -0\.50, "
        r"one-sided p 0\.049, limit 0\.05; train longer .*--force"
    )
    with pytest.raises(QualityGateError, match=said):
        check_quality(worse, force=False)
    check_quality(worse, force=True)
    with pytest.raises(QualityGateError, match="not compared"):
        check_quality(bare, force=False)


def test_an_adapter_of_another_base_is_not_placed(
    tiny_base: Base, adapted: Callable[..., tuple[Any, Path]], decoder: Decoder
) -> None:
    model, folder = adapted()
    other = BaseReference(name="other", digest="sha256:" + "1" * 64, parameters=10)
    with pytest.raises(WrongBaseError, match="other"):
        decoder.place(folder, manifest(tiny_base, count_trainable(model), base=other))


def test_card_has_the_evidence_and_nothing_of_this_machine(
    tiny_base: Base, make_recipe: Callable[..., Recipe]
) -> None:
    from training.environment import environment

    made_on = environment("bfloat16", scored_in="int8")
    full = manifest(tiny_base, 1234, environment=made_on).model_copy(
        update=compared(20.0, 60.0, 1.0) | {"lengths": (length(6, 10), length(41, None))}
    )
    equality = EqualityEvidence(32, 400, 1, fresh=True)
    card = model_card(full, make_recipe(), equality)
    assert card == model_card(full, make_recipe(), equality)
    for said in (
        "| chrF++ | 20.0 | 60.0 | +40.0 (+39.0 to +41.0) | 0.250 |",
        "- TER: `s`",
        "1000 resamples",
        "| 6–10 | 7 | 20.0 → 60.0 | 0.100 |",
        "| over 40 | 7 |",
        "1,234",
        "mixed batch of 32 rows",
        "process of its own",
        "not worse than the base at p < 0.05",
        "licence not stated",
        "Unicode-3.0",
        made_on.processor,
        f"torch {made_on.libraries['torch']}",
        "bfloat16 products",
        make_recipe().digest,
    ):
        assert said in card, said
    assert str(tiny_base.folder) not in card
    assert card.startswith("---\n")
    worse = full.model_copy(update=compared(60.0, 20.0, 0.001))
    assert "**significantly worse" in model_card(worse, make_recipe(), equality)


def length(low: int, high: int | None) -> LengthRecord:
    found = tuple(
        LengthScore(metric=metric, base=20.0, adapter=60.0, p_value=0.1) for metric in METRICS
    )
    return LengthRecord(unit="words", low=low, high=high, items=7, scores=found)
