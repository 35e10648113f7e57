"""The catalog of methods: what each trains, costs and is good for, and how it is built in PEFT.

Nothing here imports torch or PEFT before `MethodSpec.build` is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from hub.budget import METHODS as ARITHMETIC
from hub.budget import Solution, count, solve
from hub.errors import BudgetError, SettingsError
from training.methods import configs
from training.methods.lora import TARGETS

if TYPE_CHECKING:
    from peft import PeftConfig

    from hub.budget import ModelDimensions

Option = str | int | bool
Serving = Literal["mixed batches", "merge into a base", "a base of its own"]
EXACT: Final = "the base, to the last bit"
YES_NO: Final = (True, False)
MADE_BY_A_NETWORK: Final = 1 / 30
"""Of a prefix's rate: its network's weights want far smaller steps than the numbers themselves."""


@dataclass(frozen=True)
class MethodSpec:
    """What the hub knows of one method.

    Attributes:
        summary: What it trains.
        formula: How many parameters, in the letters of `LETTERS`.
        serving: How it is served: rows of one batch, after merging, or as a base.
        exports: Whether it can be merged and so exported to CTranslate2.
        start: What the untrained adapter is.
        options: Every option with its default.
        choices: The values each option may take.
        learning_rate: Peak rate for a large base.
        small_base_rate: Peak rate for a base like the embedded one.
        variant: What `hub.budget` calls a choice of options.
        rate_factor: What the rates are multiplied by for a choice of options.
        updates_factor: How many times the usual updates it wants.
    """

    name: str
    summary: str
    formula: str
    serving: Serving
    exports: bool
    start: str
    learning_rate: float
    small_base_rate: float
    _config: Callable[[int, Mapping[str, Option], str], Any]
    variant: Callable[[Mapping[str, Option]], str] = lambda options: ""
    options: Mapping[str, Option] = field(default_factory=lambda: MappingProxyType({}))
    choices: Mapping[str, tuple[Option, ...]] = field(default_factory=lambda: MappingProxyType({}))
    rate_factor: Callable[[Mapping[str, Option]], float] = lambda options: 1.0
    updates_factor: int = 1

    @property
    def size_name(self) -> str:
        """Return what its size is called: width, rank, length, or "" where it has none."""
        return next(iter(ARITHMETIC[self.name].values())).size_name

    @property
    def size_option(self) -> str:
        """Return the option that sets the size, without dashes; "" where it has none."""
        return size_option(self.size_name)

    @property
    def minimum(self) -> str:
        """Return the smallest adapter there is, in words."""
        return f"{self.size_name} 1" if self.size_name else "fixed"

    @property
    def variants(self) -> tuple[str, ...]:
        """Return the names under which `hub.budget` counts it."""
        return tuple(ARITHMETIC[self.name])

    @property
    def in_slots(self) -> bool:
        """Return whether rows of one batch can use different adapters of it."""
        return self.serving == "mixed batches"

    def complete(self, asked: Mapping[str, Option]) -> Mapping[str, Option]:
        """Return the asked options with the defaults filled in.

        Raises:
            SettingsError: An option is unknown to the method, or has a value it does not take.
        """
        for name, value in asked.items():
            option = name.replace("_", "-")
            if name not in self.options:
                known = ", ".join(f"--{each.replace('_', '-')}" for each in self.options)
                raise SettingsError(
                    f"method {self.name!r} has no option --{option}; it has {known or 'none'}",
                    field=name,
                )
            if value not in self.choices[name]:
                known = ", ".join(str(choice) for choice in self.choices[name])
                raise SettingsError(f"--{option} is {value}; it must be one of {known}", field=name)
        return MappingProxyType({**self.options, **asked})

    def solve(
        self,
        dims: ModelDimensions,
        options: Mapping[str, Option],
        *,
        budget: float | None,
        size: int | None,
    ) -> Solution:
        """Return the size that a budget buys, or count the one that was asked.

        A method without a size is counted, and held against the budget where there is one.

        Raises:
            BudgetError: Both or neither are given, or either is out of range.
        """
        variant = self.variant(options)
        if not self.size_name and size is None and budget is None:
            size = 0
        if (budget is None) == (size is None):
            raise BudgetError(
                f"give either --budget or --{self.size_option}, not "
                + ("both" if size is not None else "neither"),
                field="budget",
            )
        if size is not None:
            trainable = count(self.name, size, dims, variant)
            return Solution(size, trainable, trainable / dims.parameters)
        assert budget is not None
        return solve(self.name, budget, dims, variant)

    def build(self, size: int, options: Mapping[str, Option], family: str) -> PeftConfig:
        """Return the PEFT configuration of an adapter of this size.

        Args:
            size: Width, rank or length; 0 for a method without one.
            options: Those of the method that differ from the defaults.
            family: The base's `model_type` in transformers.

        Raises:
            SettingsError: An option is bad, the family unknown, or the method has no adapter.
        """
        config: PeftConfig = self._config(size, self.complete(options), family)
        return config


def size_option(size_name: str) -> str:
    """Return the command line's word for a size."""
    return "prefix-length" if size_name == "length" else size_name


def _bottleneck_variant(options: Mapping[str, Option]) -> str:
    return f"{options['placement']}" + ("" if options["norm"] else "-no-norm")


def _lora_variant(options: Mapping[str, Option]) -> str:
    return f"{options['targets']}" + ("-dora" if options["dora"] else "")


LETTERS: Final = (
    "r = size, d = d_model, i = attention width, f = feed-forward width, "
    "E and D = encoder and decoder layers, N = layer norms"
)
_SPECS: Final = (
    MethodSpec(
        name="bottleneck",
        summary="down, activation and up with norm and residual after every layer or sub-layer",
        formula="(E+D)(2dr+r+d+2d); sublayer: 2E+3D for E+D; without norm: no 2d",
        serving="mixed batches",
        exports=False,
        start=EXACT,
        learning_rate=5e-4,
        small_base_rate=1e-2,
        _config=configs.bottleneck_config,
        variant=_bottleneck_variant,
        options=MappingProxyType({"activation": "relu", "norm": True, "placement": "layer"}),
        choices=MappingProxyType(
            {
                "activation": ("relu", "gelu"),
                "norm": YES_NO,
                "placement": ("layer", "sublayer"),
            }
        ),
    ),
    MethodSpec(
        name="lora",
        summary="low-rank change of the linear layers",
        formula=(
            "qv: 2r(d+i)(E+2D); attention: twice that; all-linear: and 2r(d+f)(E+D); "
            "dora: and one for each output"
        ),
        serving="mixed batches",
        exports=True,
        start=EXACT,
        learning_rate=5e-4,
        small_base_rate=2e-3,
        _config=configs.low_rank_config,
        variant=_lora_variant,
        options=MappingProxyType({"targets": "qv", "rslora": False, "dora": False}),
        choices=MappingProxyType({"targets": TARGETS, "rslora": YES_NO, "dora": YES_NO}),
    ),
    MethodSpec(
        name="prefix",
        summary="keys and values in front of encoder self-, decoder self- and cross-attention",
        formula="2ri(E+2D); decoder: 2riD",
        serving="mixed batches",
        exports=False,
        start="not the base: a prefix takes a share of the attention",
        learning_rate=2e-3,
        small_base_rate=3e-1,
        _config=configs.prefix_config,
        variant=lambda options: str(options["attentions"]),
        options=MappingProxyType({"attentions": "all", "reparametrised": False}),
        choices=MappingProxyType({"attentions": ("all", "decoder"), "reparametrised": YES_NO}),
        rate_factor=lambda options: MADE_BY_A_NETWORK if options["reparametrised"] else 1.0,
        updates_factor=2,
    ),
    MethodSpec(
        name="bitfit",
        summary="every bias, those of the norms included",
        formula="(E+2D)(3i+d) + (E+D)(f+d) + Nd",
        serving="mixed batches",
        exports=True,
        start=EXACT,
        learning_rate=1e-3,
        small_base_rate=2e-2,
        _config=configs.bitfit_config,
    ),
    MethodSpec(
        name="norms",
        summary="the layer norms' weights, or their weights and biases",
        formula="Nd; both: 2Nd",
        serving="mixed batches",
        exports=True,
        start=EXACT,
        learning_rate=1e-3,
        small_base_rate=1e-1,
        _config=configs.norms_config,
        variant=lambda options: str(options["norm_train"]),
        options=MappingProxyType({"norm_train": "weight"}),
        choices=MappingProxyType({"norm_train": ("weight", "both")}),
    ),
    MethodSpec(
        name="ia3",
        summary="one factor for each key, value and inner value of the feed-forward",
        formula="2i(E+2D) + f(E+D)",
        serving="mixed batches",
        exports=True,
        start=EXACT,
        learning_rate=3e-3,
        small_base_rate=1e-1,
        _config=configs.ia3_config,
    ),
    MethodSpec(
        name="cross-attention",
        summary="the whole weights of the cross-attention and its norm",
        formula="D(4di + 3i + 3d)",
        serving="merge into a base",
        exports=True,
        start=EXACT,
        learning_rate=1e-4,
        small_base_rate=1e-3,
        _config=configs.cross_attention_config,
    ),
    MethodSpec(
        name="full",
        summary="every parameter of the base: the ceiling",
        formula="all",
        serving="a base of its own",
        exports=True,
        start=EXACT,
        learning_rate=3e-5,
        small_base_rate=1e-3,
        _config=configs.no_config,
    ),
)
METHODS: Final[Mapping[str, MethodSpec]] = MappingProxyType({spec.name: spec for spec in _SPECS})


def method(name: str) -> MethodSpec:
    """Return a method by name.

    Raises:
        SettingsError: There is none of that name; the message lists them.
    """
    if name not in METHODS:
        raise SettingsError(
            f"unknown method {name!r}; known are {', '.join(METHODS)}", field="method"
        )
    return METHODS[name]
