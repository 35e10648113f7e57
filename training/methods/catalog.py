"""The catalog of methods: what each trains, costs and is good for, and how it is built in PEFT.

Nothing here imports torch or PEFT before `MethodSpec.build` is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
ROWS: Final = "token_rows"
"""Option of every method that takes rows of the token table beside what it trains itself."""
TOKENS: Final = "tokens"
BESIDE: Final = "trainable_token_indices"
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
        rows_option: Option of its PEFT configuration that lists trained rows of the token table;
            "" where it takes none.
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
    rows_option: str = ""
    rate_factor: Callable[[Mapping[str, Option]], float] = lambda options: 1.0
    updates_factor: int = 1

    @property
    def size_name(self) -> str:
        """Return what its size is called: width, rank, length, rows, or "" where it has none."""
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
            if name == ROWS and self.takes_rows:
                _check_rows(value)
                continue
            if name not in self.options:
                known = ", ".join(f"--{each.replace('_', '-')}" for each in self._known)
                raise SettingsError(
                    f"method {self.name!r} has no option --{option}; it has {known or 'none'}",
                    field=name,
                )
            if value not in self.choices[name]:
                known = ", ".join(str(choice) for choice in self.choices[name])
                raise SettingsError(f"--{option} is {value}; it must be one of {known}", field=name)
        return MappingProxyType({**self.options, **asked})

    @property
    def takes_rows(self) -> bool:
        """Return whether rows of the token table can be trained beside it."""
        return self.rows_option == BESIDE

    @property
    def _known(self) -> tuple[str, ...]:
        return (*self.options, ROWS) if self.takes_rows else tuple(self.options)

    def rows(self, size: int, options: Mapping[str, Option]) -> int:
        """Return how many rows of the token table it trains at a size, 0 for none."""
        return size if self.name == TOKENS else int(options.get(ROWS, 0))

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
        beside = int(options.get(ROWS, 0))
        taken = count(TOKENS, beside, dims) if beside else 0
        if not self.size_name and size is None and budget is None:
            size = 0
        if (budget is None) == (size is None):
            raise BudgetError(
                f"give either --budget or --{self.size_option}, not "
                + ("both" if size is not None else "neither"),
                field="budget",
            )
        if size is not None:
            trainable = taken + count(self.name, size, dims, variant)
            return Solution(size, trainable, trainable / dims.parameters)
        assert budget is not None
        return solve(self.name, budget, dims, variant, taken=taken)

    def build(
        self,
        size: int,
        options: Mapping[str, Option],
        family: str,
        pieces: Sequence[int] = (),
    ) -> PeftConfig:
        """Return the PEFT configuration of an adapter of this size.

        Args:
            size: Width, rank, length or rows; 0 for a method without one.
            options: Those of the method that differ from the defaults.
            family: The base's `model_type` in transformers.
            pieces: Tokens whose rows are trained, as many as size or options say; the first of the
                vocabulary where none are given.

        Raises:
            SettingsError: An option is bad, the family unknown, or the method has no adapter.
        """
        complete = self.complete(options)
        config: PeftConfig = self._config(size, complete, family)
        rows = self.rows(size, complete)
        if rows:
            assert len(pieces) in (0, rows), "the recipe says how many there are"
            setattr(config, self.rows_option, list(pieces or range(rows)))
        return config


def size_option(size_name: str) -> str:
    """Return the command line's word for a size."""
    return {"length": "prefix-length", "rows": "token-rows"}.get(size_name, size_name)


def _check_rows(value: Option) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingsError(f"--token-rows is {value}; it must be 1 or more", field=ROWS)


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
        rows_option=BESIDE,
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
        rows_option=BESIDE,
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
        rows_option=BESIDE,
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
        rows_option=BESIDE,
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
        rows_option=BESIDE,
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
        name=TOKENS,
        summary="rows of the token table, the target language's pieces: as read and as chosen",
        formula="dr",
        serving="mixed batches",
        exports=True,
        start=EXACT,
        learning_rate=2e-4,
        small_base_rate=3e-3,
        _config=configs.tokens_config,
        rows_option="token_indices",
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
