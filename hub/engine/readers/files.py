"""The two files of an adapter folder, and the checks that every kind shares."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hub.engine.readers.modules import ModuleRules
from hub.engine.readers.spelling import PREFIX, canonical_name
from hub.errors import AdapterBindingError, CorruptBlobError, IncompatibleAdapterError

CONFIG_FILE: Final = "adapter_config.json"
WEIGHTS_FILE: Final = "adapter_model.safetensors"
MAX_CONFIG_BYTES: Final = 1 << 20
MAX_MAGNITUDE: Final = 1e4
"""Largest weight accepted: far above any trained one, and far below overflow."""

HOW_TO_SERVE_WHOLE_WEIGHTS: Final = (
    "merge it into a copy of its base (a transformers folder) and serve that folder as a base of "
    "its own, or export it as a model of its own"
)


@dataclass(frozen=True)
class AdapterFiles:
    """A parsed adapter folder.

    Attributes:
        name: The folder's name, for messages.
        config: adapter_config.json.
        tensors: Every tensor by its full name, float32, finite, of sane magnitude.
    """

    name: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @classmethod
    def read(cls, folder: Path) -> AdapterFiles:
        """Read both files.

        Raises:
            AdapterBindingError: A tensor is not sound; names it.
            CorruptBlobError: A file cannot be read.
        """
        return cls(folder.name, _read_config(folder), _read_tensors(folder))

    @cached_property
    def rules(self) -> ModuleRules:
        """The config's rules for which modules it means."""
        return ModuleRules(self.config)

    @property
    def kind(self) -> str:
        """Return the `peft_type`."""
        return str(self.config.get("peft_type"))

    def by_module(
        self, pattern: re.Pattern[str], known: Container[str]
    ) -> dict[str, dict[str, Tensor]]:
        """Return tensors by module and part.

        Args:
            pattern: Of a name without `base_model.model.`; has groups `module` and `part`.
            known: Module paths that the kind acts on.

        Raises:
            AdapterBindingError: A name does not match, its module is not known, or two
                names mean the same.
        """
        found: dict[str, dict[str, Tensor]] = {}
        for name, tensor in self.tensors.items():
            match = pattern.fullmatch(name.removeprefix(PREFIX))
            if match is None or match["module"] not in known:
                raise unbound(name)
            parts = found.setdefault(match["module"], {})
            if match["part"] in parts:  # the same with and without base_model.model.
                raise unbound(name)
            parts[match["part"]] = tensor
        return found

    def refuse(self, options: Iterable[str], what: str) -> None:
        """Refuse options of the config that are set.

        Raises:
            IncompatibleAdapterError: Names the first one, and what to do.
        """
        for option in options:
            value = self.config.get(option)
            if value:
                raise IncompatibleAdapterError(
                    f"{what} with {option}={value!r} is not served in a slot; train without it, "
                    f"or {HOW_TO_SERVE_WHOLE_WEIGHTS}",
                    field=option,
                )

    def whole_number(self, option: str) -> int:
        """Return an option that must be 1 or more.

        Raises:
            IncompatibleAdapterError: It is not.
        """
        value = self.config.get(option)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise IncompatibleAdapterError(
                f"{option} is {value!r}, expected 1 or more", field=option
            )
        return value


def unbound(key: str) -> AdapterBindingError:
    """Return the error for a tensor that has no place in the base."""
    spelled = (
        "its name is not as PEFT saves it; `hub adapters import` reads such names"
        if canonical_name(key) not in (key, PREFIX + key)
        else "nothing of an adapter is ignored"
    )
    return AdapterBindingError(f"tensor {key!r} binds to no site of the base; {spelled}")


def missing(key: str) -> AdapterBindingError:
    """Return the error for a tensor that should be there."""
    return AdapterBindingError(f"tensor {key!r} is missing from the adapter")


def check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Check a tensor's shape.

    Raises:
        AdapterBindingError: It is another, or holds nothing.
    """
    if tuple(tensor.shape) != shape or 0 in shape:
        raise AdapterBindingError(
            f"tensor {name!r} has shape {tuple(tensor.shape)}, the base needs {shape}"
        )


def check_matrix(name: str, tensor: Tensor) -> None:
    """Check that a tensor has two dimensions, before its shape is taken apart.

    Raises:
        AdapterBindingError: It has not, or holds nothing.
    """
    if tensor.dim() != 2 or 0 in tensor.shape:
        raise AdapterBindingError(
            f"tensor {name!r} has shape {tuple(tensor.shape)}, expected two dimensions of 1 or more"
        )


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG_FILE
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"it has over {MAX_CONFIG_BYTES:,} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptBlobError(f"{path.name} of {folder.name} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise CorruptBlobError(f"{path.name} of {folder.name} is not a JSON object")
    return config


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    """Read every tensor as float32, refusing what is not a sound number."""
    try:
        with safe_open(folder / WEIGHTS_FILE, framework="pt") as handle:
            raw = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CorruptBlobError(
            f"{WEIGHTS_FILE} of {folder.name} cannot be read: {error}"
        ) from error
    return {name: _sound(name, tensor) for name, tensor in raw.items()}


def _sound(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        raise AdapterBindingError(f"tensor {name!r} is {tensor.dtype}, expected a float type")
    values = tensor.to(torch.float32)
    largest = float(values.abs().max()) if values.numel() else 0.0
    if not math.isfinite(largest):
        raise AdapterBindingError(f"tensor {name!r} holds values that are not finite")
    if largest > MAX_MAGNITUDE:
        raise AdapterBindingError(
            f"tensor {name!r} holds {largest:g}, the limit is {MAX_MAGNITUDE:g}"
        )
    return values
