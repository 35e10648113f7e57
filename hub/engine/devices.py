"""Where the engine's tensors live: names of devices, and the way from the host to them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import torch
from torch import Tensor

from hub.errors import SettingsError

CPU: Final = torch.device("cpu")

_NAME: Final = re.compile(r"auto|cpu|cuda(:\d+)?")
_Value = TypeVar("_Value")
_Leaf = TypeVar("_Leaf")


def find_device(name: str) -> torch.device:
    """Return the device of a setting: "auto", "cpu", "cuda" or "cuda:n".

    "auto" is the first GPU that PyTorch can use, and the CPU where there is none.

    Raises:
        SettingsError: The name is unknown, or there is no such GPU.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(f"device is {name!r}, give auto, cpu, cuda or cuda:n", field="device")
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else CPU
    if name == "cpu":
        return CPU
    _check_gpu(name)
    return torch.device("cuda", torch.device(name).index or 0)


def _check_gpu(name: str) -> None:
    if not torch.cuda.is_available():
        built = "finds none" if torch.version.cuda else "is built without CUDA"
        raise SettingsError(
            f"device is {name!r}, but there is no GPU to use: PyTorch {torch.__version__} {built}; "
            "give --device cpu, or install a CUDA build of PyTorch",
            field="device",
        )
    count = torch.cuda.device_count()
    if (torch.device(name).index or 0) >= count:
        raise SettingsError(
            f"device is {name!r}, this machine has GPUs 0 to {count - 1}; give one of these",
            field="device",
        )


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a host tensor on a device, without waiting for the copy.

    A copy from pageable memory would make the host wait for everything queued before it, so the
    tensor goes through pinned memory. On the CPU it is returned as it is.
    """
    if device.type == "cpu":
        return tensor
    pinned = tensor.pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=True)


def moved(value: _Value, device: torch.device) -> _Value:
    """Return a tree of frozen dataclasses with every tensor in it on a device."""
    return mapped(value, Tensor, lambda tensor: tensor.to(device))


def mapped(value: _Value, kind: type[_Leaf], change: Callable[[_Leaf], Any]) -> _Value:
    """Return a tree of frozen dataclasses with everything of a kind in it changed.

    What several places share stays shared. Lists, tuples and mappings are followed; other objects
    are kept as they are. A field that a dataclass computes itself is computed again.
    """
    seen: dict[int, Any] = {}

    def walk(value: Any) -> Any:
        if isinstance(value, kind):
            if id(value) not in seen:
                seen[id(value)] = change(value)
            return seen[id(value)]
        if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
            return type(value)(walk(item) for item in value)
        if isinstance(value, Mapping):
            return {key: walk(item) for key, item in value.items()}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return _mapped_fields(value, walk)
        return value

    return walk(value)  # type: ignore[no-any-return]


def _mapped_fields(value: Any, walk: Callable[[Any], Any]) -> Any:
    changes = {}
    for each in dataclasses.fields(value):
        if not each.init:
            continue  # made anew from the others
        old = getattr(value, each.name)
        new = walk(old)
        if new is not old:
            changes[each.name] = new
    return dataclasses.replace(value, **changes) if changes else value
