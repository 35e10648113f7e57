"""Which modules a PEFT config means: the rules of PEFT 0.21, evaluated on module paths.

`target_modules`, `exclude_modules`, `layers_to_transform` and `layers_pattern` say where an
adapter acts; `rank_pattern` and `alpha_pattern` say with which rank and factor. A tensor of a
module that the config does not mean is dropped by PEFT without a word, so it is refused here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from hub.engine.readers.expressions import Expressions
from hub.errors import AdapterBindingError, IncompatibleAdapterError

ALL_LINEAR: Final = "all-linear"
_INDEX: Final = r".*?\.[^.]*\.(?P<idx>\d+)\."


class ModuleRules:
    """The rules of one config."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Check the options' types.

        Raises:
            IncompatibleAdapterError: One is of a type that PEFT does not write; names it.
        """
        self._expressions = Expressions()
        self._targets = _names(config, "target_modules")
        self._excluded = _names(config, "exclude_modules")
        self._layers = _layers(config)
        self._layer_names = _names(config, "layers_pattern")
        self._config = config

    @property
    def stated(self) -> bool:
        """Return whether the config says where the adapter acts."""
        return self._targets is not None

    def targets(self, module: str) -> bool:
        """Return whether PEFT puts the adapter into a module."""
        if self._is_excluded(module):
            return False
        targets = self._targets
        if targets is None:
            return True
        if isinstance(targets, str):
            return targets.lower() == ALL_LINEAR or self._fits("target_modules", targets, module)
        if module in targets:
            return True
        return _ends_in(module, targets) and self._is_in_layers(module)

    def value(self, option: str, module: str, default: Any) -> Any:
        """Return what the first pattern of an option that fits a module gives it.

        PEFT goes through the patterns in the order of the file.

        Raises:
            IncompatibleAdapterError: The option is no mapping.
        """
        patterns = self._config.get(option)
        if patterns is None:
            return default
        if not isinstance(patterns, Mapping):
            raise IncompatibleAdapterError(
                f"{option} is {patterns!r:.80}, expected a mapping of module paths to numbers",
                field=option,
            )
        for pattern, value in patterns.items():
            if self._expressions.match(option, pattern, rf"(.*\.)?({pattern})$", module):
                return value
        return patterns.get(module, default)

    def fits(self, option: str, module: str) -> bool:
        """Return whether an option's expression fits a whole path, or one of its names ends it."""
        given = _names(self._config, option)
        if isinstance(given, str):
            return self._fits(option, given, module)
        return any(module.endswith(name) for name in given or ())

    def check(self, found: Iterable[str], known: Iterable[str], part: str) -> None:
        """Check that an adapter has tensors where its config says that it acts, and only there.

        Args:
            found: Modules that the adapter has tensors for.
            known: Modules of the base that the kind can act on.
            part: A tensor that every module has, for messages.

        Raises:
            AdapterBindingError: Names the first tensor that PEFT would ignore, or that is missing.
        """
        have = set(found)
        for module in sorted(have):
            if not self.targets(module):
                raise AdapterBindingError(
                    f"tensor {f'{module}.{part}'!r} is of a module that target_modules, "
                    "exclude_modules and layers_to_transform of the config leave out, so PEFT "
                    "ignores it; correct the config, or take the tensor out"
                )
        if not self.stated:
            return
        for module in known:
            if module not in have and self.targets(module):
                raise AdapterBindingError(
                    f"tensor {f'{module}.{part}'!r} is missing from the adapter, whose config "
                    "targets that module; save the adapter again, or correct target_modules"
                )

    def _fits(self, option: str, expression: str, module: str) -> bool:
        found = self._expressions.match(option, expression, expression, module, whole=True)
        return found is not None

    def _is_excluded(self, module: str) -> bool:
        excluded = self._excluded
        if not excluded:
            return False
        if isinstance(excluded, str):
            return self._fits("exclude_modules", excluded, module)
        return module in excluded or _ends_in(module, excluded)

    def _is_in_layers(self, module: str) -> bool:
        if self._layers is None:
            return True
        index = self._layer_of(module)
        return index is not None and index in self._layers

    def _layer_of(self, module: str) -> int | None:
        """Return the number of the first segment that counts layers."""
        names = self._layer_names
        if not names:
            found = self._expressions.match("layers_pattern", ".", _INDEX, module)
            return int(found["idx"]) if found else None
        for name in [names] if isinstance(names, str) else names:
            form = rf"(?:^|.*?\.){name}\.(?P<idx>\d+)\."
            found = self._expressions.match("layers_pattern", name, form, module)
            if found:
                return int(found["idx"])
        return None


def _ends_in(module: str, names: Iterable[str]) -> bool:
    return any(module.endswith(f".{name}") for name in names)


def _names(config: Mapping[str, Any], option: str) -> str | list[str] | None:
    """Return an expression, a list of names, or None."""
    given = config.get(option)
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, list | tuple) and all(isinstance(name, str) for name in given):
        return list(given)
    raise IncompatibleAdapterError(
        f"{option} is {given!r:.80}, expected an expression or a list of names", field=option
    )


def _layers(config: Mapping[str, Any]) -> list[int] | None:
    """Return the layers that the adapter is limited to, None for all."""
    given = config.get("layers_to_transform")
    if given is None or given == []:
        return None
    layers = given if isinstance(given, list) else [given]
    if not all(isinstance(layer, int) and not isinstance(layer, bool) for layer in layers):
        raise IncompatibleAdapterError(
            f"layers_to_transform is {given!r:.80}, expected numbers of layers",
            field="layers_to_transform",
        )
    if isinstance(config.get("target_modules"), str):
        raise IncompatibleAdapterError(
            "layers_to_transform goes with target_modules as a list only, as in PEFT; write the "
            "layers into the expression",
            field="layers_to_transform",
        )
    return layers
