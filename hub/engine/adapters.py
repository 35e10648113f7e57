"""An adapter folder becomes host tensors that are ready for the banks.

Everything is checked here, off the engine's thread: what `place` gets binds and
is finite. An adapter that would act only in part is refused, tensor by name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hub.engine.architecture import Architecture, Site
from hub.engine.banks import RANK_MULTIPLE, BankKey, BankPart
from hub.engine.deltas import Deltas
from hub.engine.families import Family
from hub.errors import AdapterBindingError, CorruptBlobError, IncompatibleAdapterError

CONFIG_FILE: Final = "adapter_config.json"
WEIGHTS_FILE: Final = "adapter_model.safetensors"
MAX_MAGNITUDE: Final = 1e4
"""Largest weight accepted: far above any trained one, and far below overflow."""

_PREFIX: Final = "base_model.model."
_LORA_KEY: Final = re.compile(r"(?P<module>.+)\.lora_(?P<part>[AB])\.weight")
_BOTTLENECK_KEY: Final = re.compile(
    r"(?P<module>.+)\.bottleneck_(?P<part>norm|down|up)\.(?P<kind>weight|bias)"
)
_LORA_REFUSED: Final = (
    "use_dora", "modules_to_save", "fan_in_fan_out", "lora_bias", "use_qalora", "use_bdlora",
    "layer_replication", "trainable_token_indices", "target_parameters",
    "alora_invocation_tokens", "velora_config", "kasa_config", "monteclora_config",
)  # fmt: skip


@dataclass(frozen=True)
class HostAdapter:
    """An adapter in host memory, checked and converted.

    Attributes:
        kind: "lora" or "bottleneck".
        digest: Digest of the base it was checked against.
        parameters: Number of trained values, before padding.
        parts: What each bank copies.
    """

    kind: str
    digest: str
    parameters: int
    parts: tuple[BankPart, ...]

    @property
    def nbytes(self) -> int:
        """Return the bytes held in memory, and copied by placing it."""
        return sum(part.nbytes for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Delta:
    """One site's weights in float32, one layer."""

    down: Tensor
    up: Tensor
    down_bias: Tensor | None = None
    up_bias: Tensor | None = None


class AdapterReader:
    """Reads adapter folders for one base; has no mutable state, so threads may share it."""

    def __init__(
        self, family: Family, architecture: Architecture, deltas: Deltas, base_digest: str
    ) -> None:
        """Learn the base's module paths."""
        self._architecture = architecture
        self._deltas = deltas
        self._digest = base_digest
        self._linears = family.linear_modules(architecture)
        self._layers = family.layer_modules(architecture)

    def read(self, folder: Path) -> HostAdapter:
        """Read, check and convert one adapter.

        Raises:
            IncompatibleAdapterError: The kind or an option is not served; names it.
            AdapterBindingError: A tensor does not bind, is missing, or is not sound.
            CorruptBlobError: A file cannot be read.
        """
        config = _read_config(folder)
        tensors = _read_tensors(folder)
        kind = config.get("peft_type")
        if kind == "LORA":
            deltas = self._low_rank(config, tensors)
        elif kind == "BOTTLENECK":
            deltas = self._bottleneck(config, tensors)
        else:
            raise IncompatibleAdapterError(
                f"adapters of kind {kind!r} are not served; LORA and BOTTLENECK are",
                field="peft_type",
            )
        if not deltas:
            raise AdapterBindingError(f"{folder.name} holds no tensors: it would not act")
        return HostAdapter(
            kind=str(kind).lower(),
            digest=self._digest,
            parameters=sum(tensor.numel() for tensor in tensors.values()),
            parts=tuple(self._pack(key, sites) for key, sites in sorted(deltas.items())),
        )

    def _low_rank(
        self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> dict[BankKey, dict[Site, _Delta]]:
        _refuse_lora_options(config)
        halves: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            match = _LORA_KEY.fullmatch(name.removeprefix(_PREFIX))
            if match is None or match["module"] not in self._linears:
                raise _unbound(name)
            halves.setdefault(match["module"], {})[match["part"]] = tensor
        found: dict[BankKey, dict[Site, _Delta]] = {}
        for module, pair in halves.items():
            site = self._linears[module]
            out, width = self._architecture.linear_shape(site.stack, site.name)
            down, up = _both(module, pair)
            rank = down.shape[0]
            _check_shape(f"{module}.lora_A.weight", down, (rank, width))
            _check_shape(f"{module}.lora_B.weight", up, (out, rank))
            delta = _Delta(down, up.t() * _lora_scaling(config, module, rank))
            found.setdefault(BankKey(site.stack, site.name), {})[site] = delta
        return found

    def _bottleneck(
        self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> dict[BankKey, dict[Site, _Delta]]:
        _check_bottleneck_config(config)
        modules: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            match = _BOTTLENECK_KEY.fullmatch(name.removeprefix(_PREFIX))
            if match is None or match["module"] not in self._layers:
                raise _unbound(name)
            modules.setdefault(match["module"], {})[f"{match['part']}.{match['kind']}"] = tensor
        found: dict[BankKey, dict[Site, _Delta]] = {}
        for module, parts in modules.items():
            site = self._layers[module]
            key = BankKey(
                site.stack, site.name, str(config["activation"]), bool(config["norm"]), biased=True
            )
            width = int(config["width"])
            delta = _fold_norm(module, parts, width, self._architecture.d_model, key.normed)
            found.setdefault(key, {})[site] = delta
        return found

    def _pack(self, key: BankKey, sites: Mapping[Site, _Delta]) -> BankPart:
        """Stack a bank's layers; layers without the adapter are zeros."""
        layers = self._architecture.layers(key.stack)
        first = next(iter(sites.values()))
        rank = max(delta.down.shape[0] for delta in sites.values())
        rank = -(-rank // RANK_MULTIPLE) * RANK_MULTIPLE
        down = torch.zeros(layers, rank, first.down.shape[1])
        up = torch.zeros(layers, rank, first.up.shape[1])
        down_bias = torch.zeros(layers, rank) if key.biased else None
        up_bias = torch.zeros(layers, first.up.shape[1]) if key.biased else None
        for site, delta in sites.items():
            down[site.layer, : delta.down.shape[0]] = delta.down
            up[site.layer, : delta.up.shape[0]] = delta.up
            if down_bias is not None and up_bias is not None:
                assert delta.down_bias is not None
                assert delta.up_bias is not None
                down_bias[site.layer, : delta.down_bias.shape[0]] = delta.down_bias
                up_bias[site.layer] = delta.up_bias
        return self._deltas.pack(key, down, up, down_bias, up_bias)


def _fold_norm(
    module: str, parts: dict[str, Tensor], width: int, d_model: int, normed: bool
) -> _Delta:
    """Check one bottleneck and fold the norm's scale and shift into its down projection.

    `down(g * x + b) + c` is `(down * g) x + (down b + c)`: the normalised x no longer depends
    on the adapter, so rows of different adapters share it.
    """
    shapes = {
        "down.weight": (width, d_model), "down.bias": (width,),
        "up.weight": (d_model, width), "up.bias": (d_model,),
    }  # fmt: skip
    if normed:
        shapes |= {"norm.weight": (d_model,), "norm.bias": (d_model,)}
    for name in sorted(parts.keys() | shapes.keys()):
        where = f"{module}.bottleneck_{name}"
        if name not in parts:
            raise AdapterBindingError(f"tensor {where!r} is missing from the adapter")
        if name not in shapes:
            raise AdapterBindingError(f"tensor {where!r} binds to nothing: norm is false")
        _check_shape(where, parts[name], shapes[name])
    down, bias = parts["down.weight"].double(), parts["down.bias"].double()
    if normed:
        bias = bias + down @ parts["norm.bias"].double()
        down = down * parts["norm.weight"].double()
    return _Delta(down.float(), parts["up.weight"].t(), bias.float(), parts["up.bias"])


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
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


def _unbound(key: str) -> AdapterBindingError:
    return AdapterBindingError(
        f"tensor {key!r} binds to no site of the base; nothing of an adapter is ignored"
    )


def _both(module: str, pair: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    for part in "AB":
        if part not in pair:
            raise AdapterBindingError(
                f"tensor '{module}.lora_{part}.weight' is missing from the adapter"
            )
    return pair["A"], pair["B"]


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape or 0 in shape:
        raise AdapterBindingError(
            f"tensor {name!r} has shape {tuple(tensor.shape)}, the base needs {shape}"
        )


def _refuse_lora_options(config: Mapping[str, Any]) -> None:
    refused = [name for name in _LORA_REFUSED if config.get(name)]
    if config.get("bias", "none") != "none":
        refused.append("bias")
    if refused:
        raise IncompatibleAdapterError(
            f"LoRA with {refused[0]}={config[refused[0]]!r} is not served; train without it or "
            "merge the adapter into a base",
            field=refused[0],
        )


def _lora_scaling(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Return PEFT's factor: alpha / r, or alpha / sqrt(r) with rsLoRA (arXiv 2312.03732)."""
    alpha = config.get("lora_alpha", 8)
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if not re.fullmatch(r"[\w.]+", pattern):
            raise IncompatibleAdapterError(
                f"alpha_pattern {pattern!r} is an expression; only module paths are served",
                field="alpha_pattern",
            )
        if module == pattern or module.endswith(f".{pattern}"):
            alpha = value
            break
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise IncompatibleAdapterError(
            f"lora_alpha is {alpha!r}, expected a number", field="lora_alpha"
        )
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _check_bottleneck_config(config: Mapping[str, Any]) -> None:
    width = config.get("width")
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise IncompatibleAdapterError(f"width is {width!r}, expected 1 or more", field="width")
    allowed = {"activation": ("relu", "gelu"), "norm": (True, False), "placement": ("layer",)}
    for name, values in allowed.items():
        if config.get(name) not in values:
            raise IncompatibleAdapterError(
                f"a bottleneck with {name}={config.get(name)!r} is not served; "
                f"use {' or '.join(map(str, values))}",
                field=name,
            )
