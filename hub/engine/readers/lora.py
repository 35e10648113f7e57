"""LoRA (arXiv 2106.09685), rsLoRA (2312.03732) and DoRA (2402.09353), as PEFT saves them."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from torch import Tensor

from hub.engine.architecture import Site
from hub.engine.banks import BankKey
from hub.engine.families import Checkpoint
from hub.engine.readers.files import (
    MAX_MAGNITUDE,
    AdapterFiles,
    check_matrix,
    check_shape,
    missing,
    unbound,
)
from hub.engine.readers.target import Contents, Delta, Target, vector
from hub.engine.vectors import VectorPart
from hub.errors import IncompatibleAdapterError

_KEY: Final = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_[AB]\.weight|lora_magnitude_vector)(?:\.weight)?"
)
_A, _B, _MAGNITUDE = "lora_A.weight", "lora_B.weight", "lora_magnitude_vector"
_REFUSED: Final = (
    "modules_to_save", "fan_in_fan_out", "lora_bias", "use_qalora", "use_bdlora",
    "layer_replication", "trainable_token_indices", "target_parameters",
    "alora_invocation_tokens", "velora_config", "kasa_config", "monteclora_config",
)  # fmt: skip


def read_lora(files: AdapterFiles, target: Target) -> Contents:
    """Return the low-rank deltas, and DoRA's factors beside them."""
    _refuse_options(files)
    dora = bool(files.config.get("use_dora"))
    weights = target.weights() if dora else None
    found: dict[BankKey, dict[Site, Delta]] = {}
    vectors: list[VectorPart] = []
    for module, parts in files.by_module(_KEY, target.linears).items():
        site = target.linears[module]
        delta = _low_rank(files.config, module, parts, target.linear_shape(site), dora=dora)
        if weights is not None:
            delta, factors = _fold_magnitude(site, delta, parts[_MAGNITUDE], weights)
            vectors += factors
        found.setdefault(BankKey(site.stack, site.name), {})[site] = delta
    return Contents(parts=target.pack(found), vectors=tuple(vectors))


def _low_rank(
    config: Mapping[str, Any],
    module: str,
    parts: Mapping[str, Tensor],
    shape: tuple[int, int],
    *,
    dora: bool,
) -> Delta:
    out, width = shape
    for part in (_A, _B, *((_MAGNITUDE,) if dora else ())):
        if part not in parts:
            raise missing(f"{module}.{part}")
    if not dora and _MAGNITUDE in parts:
        raise unbound(f"{module}.{_MAGNITUDE}")
    down, up = parts[_A], parts[_B]
    check_matrix(f"{module}.{_A}", down)
    rank = down.shape[0]
    check_shape(f"{module}.{_A}", down, (rank, width))
    check_shape(f"{module}.{_B}", up, (out, rank))
    if dora:
        check_shape(f"{module}.{_MAGNITUDE}", parts[_MAGNITUDE], (out,))
    scaled = up.t() * _scaling(config, module, rank)
    return Delta(down, _bounded(scaled, f"lora_B of {module}, scaled by lora_alpha", "lora_alpha"))


def _fold_magnitude(
    site: Site, delta: Delta, magnitude: Tensor, weights: Checkpoint
) -> tuple[Delta, list[VectorPart]]:
    """Fold DoRA's norms, which need the unquantized base, into what a step applies.

    With `g = magnitude / |W + s B A|` by rows, `y = g (W x) + b + g s B(A x)`. The base yields
    `W x + b`, so it is multiplied by g, `(1 - g) b` is added, and up is scaled by g.
    """
    weight, bias = weights.linear(site.stack, site.layer, site.name)
    whole = weight.double() + delta.up.t().double() @ delta.down.double()
    norm = whole.norm(dim=1)
    factor = magnitude.double() / norm
    if not bool(factor.isfinite().all()):
        raise IncompatibleAdapterError(
            f"DoRA at {site}: a row of the adapted weight is zero, so its magnitude cannot act; "
            "train the adapter again",
            field="use_dora",
        )
    _bounded(factor, f"the factor of DoRA at {site}", "use_dora")
    scaled = _bounded(
        (delta.up.double() * factor).float(), f"lora_B at {site}, scaled by DoRA", "use_dora"
    )
    factors = [vector(site, "mul", factor)]
    if bias is not None:
        factors.append(vector(site, "add", (1 - factor) * bias.double()))
    return Delta(delta.down, scaled), factors


def _refuse_options(files: AdapterFiles) -> None:
    if files.config.get("bias", "none") != "none":
        files.refuse(("bias",), "LoRA")
    files.refuse(_REFUSED, "LoRA")
    for option in ("alpha_pattern", "rank_pattern"):
        value = files.config.get(option)
        if value is not None and not isinstance(value, Mapping):
            raise IncompatibleAdapterError(
                f"{option} is {value!r}, expected a mapping of module paths to numbers",
                field=option,
            )


def _bounded(values: Tensor, what: str, field: str) -> Tensor:
    """Check values that an option scaled, as those of a file are checked."""
    largest = float(values.abs().max())
    if not largest <= MAX_MAGNITUDE:  # or not a number
        raise IncompatibleAdapterError(
            f"{what}, holds {largest:g}, the limit is {MAX_MAGNITUDE:g}; "
            "train the adapter again, with a smaller lora_alpha or learning rate",
            field=field,
        )
    return values


def _scaling(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Return PEFT's factor: alpha / r, or alpha / sqrt(r) with rsLoRA."""
    option, alpha = "lora_alpha", config.get("lora_alpha", 8)
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if not re.fullmatch(r"[\w.]+", pattern):
            raise IncompatibleAdapterError(
                f"alpha_pattern {pattern!r} is an expression; only module paths are served",
                field="alpha_pattern",
            )
        if module == pattern or module.endswith(f".{pattern}"):
            option, alpha = "alpha_pattern", value
            break
    if not _is_finite_number(alpha):
        raise IncompatibleAdapterError(
            f"{option} holds {alpha!r:.40} for {module}, expected a finite number", field=option
        )
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _is_finite_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max
