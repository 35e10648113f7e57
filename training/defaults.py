"""What a recipe holds where the user says nothing, by method and by size of the base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from hub.bases.languages import said_text
from hub.errors import SettingsError
from hub.languages import LanguagePair
from training.loop.devices import resolve_precision
from training.methods.catalog import TOKENS, MethodSpec, method
from training.recipe import Option, Recipe

if TYPE_CHECKING:
    from hub.bases import Base
    from hub.dimensions import ModelDimensions

SMALL_BASE: Final = 50_000_000
LARGE_SIZE: Final = 512
LARGE_SIZE_FACTOR: Final = 0.4


@dataclass(frozen=True)
class Profile:
    """Defaults that depend on how large the base is, not on the method."""

    train: int
    dev: int
    test: int
    warmup: int
    schedule: str
    label_smoothing: float
    dropout: float
    tokens_per_batch: int
    max_updates: int
    evaluate_every: int
    dev_lines: int
    patience: int


# Measured on the embedded base: see docs/benchmarks.md.
SMALL: Final = Profile(
    train=20_000,
    dev=400,
    test=400,
    warmup=50,
    schedule="cosine",
    label_smoothing=0.0,
    dropout=0.0,
    tokens_per_batch=1024,
    max_updates=700,
    evaluate_every=350,
    dev_lines=192,
    patience=5,
)
# Starting points for NLLB and its kind; sweep the rate by ⅓, 1 and 3 on the dev set.
LARGE: Final = Profile(
    train=20_000,
    dev=1000,
    test=1000,
    warmup=500,
    schedule="inverse-sqrt",
    label_smoothing=0.1,
    dropout=0.1,
    tokens_per_batch=16_384,
    max_updates=10_000,
    evaluate_every=500,
    dev_lines=128,
    patience=5,
)


@dataclass(frozen=True)
class Overrides:
    """What the user may set; None keeps the default."""

    train: int | None = None
    dev: int | None = None
    test: int | None = None
    seed: int | None = None
    learning_rate: float | None = None
    schedule: str | None = None
    warmup: int | None = None
    label_smoothing: float | None = None
    dropout: float | None = None
    tokens_per_batch: int | None = None
    max_updates: int | None = None
    evaluate_every: int | None = None
    dev_lines: int | None = None
    patience: int | None = None
    precision: str | None = None
    accumulate: int | None = None
    checkpointing: bool | None = None
    quantize: str | None = None

    def given(self) -> dict[str, Any]:
        """Return the settings that are not None."""
        pairs = ((each.name, getattr(self, each.name)) for each in fields(self))
        return {name: value for name, value in pairs if value is not None}


def make_recipe(
    pair: LanguagePair,
    base: Base,
    *,
    method_name: str,
    options: Mapping[str, Option],
    budget: float | None,
    size: int | None,
    corpus: str,
    overrides: Overrides,
) -> Recipe:
    """Return the complete recipe, its size solved from the budget.

    Raises:
        SettingsError: The method, an option or a setting is bad.
        BudgetError: The budget or the size is bad, or buys less than the method's minimum.
    """
    spec = method(method_name)
    complete = spec.complete(options)
    _refuse_quantized(spec, overrides)
    solution = spec.solve(base.dimensions, complete, budget=budget, size=size)
    small = base.dimensions.parameters < SMALL_BASE
    plain = _from_profile(SMALL if small else LARGE) | overrides.given()
    plain.setdefault("learning_rate", _learning_rate(spec, complete, solution.size, small=small))
    if overrides.max_updates is None:
        plain["max_updates"] *= spec.updates_factor
    plain["precision"] = resolve_precision(overrides.precision or "auto")
    return Recipe(
        pair=str(pair),
        method=spec.name,
        options=complete,
        size=solution.size,
        budget=budget,
        base=base.label,
        base_digest=base.digest,
        languages=said_text(base),
        corpus=corpus,
        **plain,
    )


def rows_rate(recipe: Recipe, dims: ModelDimensions) -> float:
    """Return what the learning rate is multiplied by for rows of the token table beside a method.

    Methods' rates differ by two orders of magnitude, since what they train does; rows are rows.
    """
    spec = method(recipe.method)
    if not spec.takes_rows:
        return 1.0
    small = dims.parameters < SMALL_BASE
    own, beside = (
        _learning_rate(one, recipe.options, 0, small=small) for one in (method(TOKENS), spec)
    )
    return own / beside


def _refuse_quantized(spec: MethodSpec, overrides: Overrides) -> None:
    """Refuse a base in few bits under a method that trains the base's own weights."""
    if (overrides.quantize or "none") != "none" and not spec.in_slots:
        raise SettingsError(
            f"--quantize {overrides.quantize} does not go with method {spec.name!r}, which trains "
            "whole weights of the base; leave it out, or choose a method served in mixed batches",
            field="quantize",
        )


def _from_profile(profile: Profile) -> dict[str, Any]:
    plain = {each.name: getattr(profile, each.name) for each in fields(profile)}
    return plain | {"seed": 1, "weight_decay": 0.0, "clip": 1.0}


def _learning_rate(
    spec: MethodSpec, options: Mapping[str, Option], size: int, *, small: bool
) -> float:
    """Return the method's peak rate: larger for a small base, smaller for a large adapter."""
    rate = (spec.small_base_rate if small else spec.learning_rate) * spec.rate_factor(options)
    large = size >= LARGE_SIZE and spec.size_name in ("width", "rank")
    return rate * (LARGE_SIZE_FACTOR if large else 1.0)
