"""The catalog of methods: defaults, options, and how each becomes a PEFT configuration.

Nothing here imports torch or PEFT before `MethodSpec.build` is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from hub.budget import Solution, count, solve
from hub.errors import BudgetError, SettingsError
from training.methods.lora import TARGETS, lora_config

if TYPE_CHECKING:
    from peft import PeftConfig

    from hub.budget import ModelDimensions

Option = str | int | bool
LORA_DROPOUT: Final = 0.05


@dataclass(frozen=True)
class MethodSpec:
    """What the hub knows of one method.

    Attributes:
        size_name: What its size is called: width or rank.
        options: Every option with its default.
        choices: The values each option may take.
        learning_rate: Peak rate for a large base.
        small_base_rate: Peak rate for a base like the embedded one.
        variant: What `hub.budget` calls a choice of options.
    """

    name: str
    summary: str
    size_name: str
    options: Mapping[str, Option]
    choices: Mapping[str, tuple[Option, ...]]
    learning_rate: float
    small_base_rate: float
    variant: Callable[[Mapping[str, Option]], str]
    _config: Callable[[int, Mapping[str, Option]], Any]

    def complete(self, asked: Mapping[str, Option]) -> Mapping[str, Option]:
        """Return the asked options with the defaults filled in.

        Raises:
            SettingsError: An option is unknown to the method, or has a value it does not take.
        """
        for name, value in asked.items():
            if name not in self.options:
                known = ", ".join(f"--{option}" for option in self.options)
                raise SettingsError(
                    f"method {self.name!r} has no option --{name}; it has {known}", field=name
                )
            if value not in self.choices[name]:
                known = ", ".join(str(choice) for choice in self.choices[name])
                raise SettingsError(f"--{name} is {value}; it must be one of {known}", field=name)
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

        Raises:
            BudgetError: Both or neither are given, or either is out of range.
        """
        if (budget is None) == (size is None):
            raise BudgetError(
                f"give either --budget or --{self.size_name}, not "
                + ("both" if size is not None else "neither"),
                field="budget",
            )
        variant = self.variant(options)
        if size is not None:
            trainable = count(self.name, size, dims, variant)
            return Solution(size, trainable, trainable / dims.parameters)
        assert budget is not None
        return solve(self.name, budget, dims, variant)

    def build(self, size: int, options: Mapping[str, Option]) -> PeftConfig:
        """Return the PEFT configuration of an adapter of this size."""
        config: PeftConfig = self._config(size, self.complete(options))
        return config


def _bottleneck_variant(options: Mapping[str, Option]) -> str:
    return f"{options['placement']}" + ("" if options["norm"] else "-no-norm")


def _lora_variant(options: Mapping[str, Option]) -> str:
    return str(options["targets"])


def _bottleneck_config(width: int, options: Mapping[str, Option]) -> Any:
    from training.methods import bottleneck

    bottleneck.register()
    return bottleneck.BottleneckConfig(
        width=width,
        activation=str(options["activation"]),
        norm=bool(options["norm"]),
        placement=str(options["placement"]),
        task_type="SEQ_2_SEQ_LM",
    )


def _lora_config(rank: int, options: Mapping[str, Option]) -> Any:
    return lora_config(rank, str(options["targets"]), LORA_DROPOUT)


_SPECS: Final = (
    MethodSpec(
        name="bottleneck",
        summary="down, activation and up with norm and residual after every layer",
        size_name="width",
        options=MappingProxyType({"activation": "relu", "norm": True, "placement": "layer"}),
        choices=MappingProxyType(
            {"activation": ("relu", "gelu"), "norm": (True, False), "placement": ("layer",)}
        ),
        learning_rate=5e-4,
        small_base_rate=1e-2,
        variant=_bottleneck_variant,
        _config=_bottleneck_config,
    ),
    MethodSpec(
        name="lora",
        summary="low-rank change of the linear layers",
        size_name="rank",
        options=MappingProxyType({"targets": "qv"}),
        choices=MappingProxyType({"targets": tuple(TARGETS)}),
        learning_rate=5e-4,
        small_base_rate=2e-3,
        variant=_lora_variant,
        _config=_lora_config,
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
