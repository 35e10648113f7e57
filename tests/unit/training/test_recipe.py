"""A recipe names a run: same content, same digest; bad values name their field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from hub.bases import Base
from hub.errors import BudgetError, SettingsError
from hub.languages import LanguagePair
from training.defaults import Overrides, make_recipe
from training.recipe import Recipe

PAIR = LanguagePair.parse("en-de")


def default(base: Base, **changes: Any) -> Recipe:
    asked: dict[str, Any] = {
        "method_name": "bottleneck",
        "options": {},
        "budget": 0.01,
        "size": None,
        "corpus": "cldr",
        "overrides": Overrides(precision="float32"),
    }
    return make_recipe(PAIR, base, **(asked | changes))


def test_digest_is_sha256_of_the_canonical_text(make_recipe: Callable[..., Recipe]) -> None:
    recipe = make_recipe()
    text = recipe.to_json()
    assert recipe.digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert recipe.run_name == f"en-de.bottleneck.{recipe.digest[7:19]}"


def test_reads_itself_back(make_recipe: Callable[..., Recipe]) -> None:
    recipe = make_recipe(budget=0.01)
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_every_field_is_part_of_the_name(make_recipe: Callable[..., Recipe]) -> None:
    other = {
        "pair": "en-ko", "method": "lora", "options": {"norm": False}, "size": 5, "budget": 0.5,
        "base": "b", "base_digest": "sha256:0", "corpus": "c", "train": 65, "dev": 9, "test": 9,
        "seed": 2, "learning_rate": 0.02, "schedule": "cosine", "warmup": 3,
        "label_smoothing": 0.2, "weight_decay": 0.1, "dropout": 0.2, "clip": 2.0,
        "tokens_per_batch": 201, "max_updates": 9, "evaluate_every": 5, "dev_lines": 5,
        "patience": 6, "precision": "bfloat16", "optimiser": "other", "version": 3,
        "corpus_fingerprint": "sha256:other", "accumulate": 2, "checkpointing": True,
        "quantize": "nf4", "languages": "en,ko",
    }  # fmt: skip
    assert set(other) == {field.name for field in fields(Recipe)}
    digests = {make_recipe(options={}).digest}
    for name, value in other.items():
        digests.add(make_recipe(**({"options": {}} | {name: value})).digest)
    assert len(digests) == len(other) + 1


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("learning_rate", 0.0, "above 0"),
        ("learning_rate", float("nan"), "above 0"),
        ("max_updates", 0, "above 0"),
        ("accumulate", 0, "above 0"),
        ("label_smoothing", 1.0, "from 0 to below 1"),
        ("dropout", -0.1, "from 0 to below 1"),
        ("warmup", -1, "0 or more"),
        ("schedule", "step", "inverse-sqrt or cosine"),
        ("precision", "fp8", "float32 or bfloat16"),
        ("quantize", "int4", "none or nf4 or int8"),
    ],
)
def test_bad_value_names_field_value_and_limit(
    make_recipe: Callable[..., Recipe], field: str, value: object, limit: str
) -> None:
    with pytest.raises(SettingsError, match=limit) as caught:
        make_recipe(**{field: value})
    assert caught.value.field == field
    assert str(value) in caught.value.message


@pytest.mark.parametrize("text", ["no json", "{}", "[]", '{"pair": "en-de"}'])
def test_what_is_no_recipe(text: str) -> None:
    with pytest.raises(SettingsError, match="recipe"):
        Recipe.from_json(text)


def test_default_recipe_keeps_to_its_budget(tiny_base: Base) -> None:
    recipe = default(tiny_base)
    assert recipe.budget == 0.01
    assert recipe.base_digest == tiny_base.digest
    assert recipe.options == {"activation": "relu", "norm": True, "placement": "layer"}
    assert recipe.size > 0
    explicit = default(tiny_base, budget=None, size=7)
    assert (explicit.size, explicit.budget) == (7, None)


def test_overrides_win(tiny_base: Base) -> None:
    recipe = default(tiny_base, overrides=Overrides(seed=9, max_updates=3, precision="bfloat16"))
    assert (recipe.seed, recipe.max_updates, recipe.precision) == (9, 3, "bfloat16")


def test_large_sizes_take_smaller_steps(tiny_base: Base) -> None:
    small = default(tiny_base, budget=None, size=16)
    large = default(tiny_base, budget=None, size=512)
    assert large.learning_rate == pytest.approx(0.4 * small.learning_rate)


def test_a_budget_that_buys_nothing_names_the_minimum(tiny_base: Base) -> None:
    with pytest.raises(BudgetError, match="needs at least"):
        default(tiny_base, budget=1e-6)


def test_precision_auto_is_resolved_in_the_recipe(tiny_base: Base) -> None:
    assert default(tiny_base, overrides=Overrides()).precision in ("float32", "bfloat16")
    with pytest.raises(SettingsError, match="auto, float32 or bfloat16"):
        default(tiny_base, overrides=Overrides(precision="int8"))
