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
from hub.engine.readers.biases import read_biases, split_biases
from hub.engine.readers.files import (
    HOW_TO_SERVE_WHOLE_WEIGHTS,
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
    "modules_to_save", "fan_in_fan_out", "lora_bias", "megatron_config", "use_qalora", "use_bdlora",
    "layer_replication", "target_parameters",
    "alora_invocation_tokens", "velora_config", "kasa_config", "monteclora_config", "arrow_config",
)  # fmt: skip
_KEEP_THE_BASE: Final = (True, False, None, "gaussian", "eva", "orthogonal", "mica")
_CHANGE_THE_BASE: Final = ("pissa", "corda", "olora", "lora_ga", "loftq")


def read_lora(files: AdapterFiles, target: Target) -> Contents:
    """Return the low-rank deltas, and DoRA's factors or trained biases beside them."""
    _refuse_options(files)
    choice = str(files.config.get("bias", "none"))
    files, biases = split_biases(files)
    dora = bool(files.config.get("use_dora"))
    weights = target.weights() if dora else None
    found: dict[BankKey, dict[Site, Delta]] = {}
    vectors: list[VectorPart] = []
    modules = files.by_module(_KEY, target.linears)
    files.rules.check(modules, target.linears, _A)
    for module, parts in modules.items():
        site = target.linears[module]
        delta = _low_rank(files, module, parts, target.linear_shape(site), dora=dora)
        if weights is not None:
            delta, factors = _fold_magnitude(site, delta, parts[_MAGNITUDE], weights)
            vectors += factors
        found.setdefault(BankKey(site.stack, site.name), {})[site] = delta
    vectors += read_biases(choice, biases, modules, target)
    return Contents(parts=target.pack(found), vectors=tuple(vectors))


def _low_rank(
    files: AdapterFiles,
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
    _check_rank(files, module, rank)
    check_shape(f"{module}.{_A}", down, (rank, width))
    check_shape(f"{module}.{_B}", up, (out, rank))
    if dora:
        check_shape(f"{module}.{_MAGNITUDE}", parts[_MAGNITUDE], (out,))
    scaled = up.t() * _scaling(files, module, rank)
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
    files.refuse(_REFUSED, "LoRA")
    check_start(files.config)


def check_start(config: Mapping[str, Any]) -> None:
    """Refuse a LoRA that was trained beside a changed base, and so is wrong on the base itself.

    Several ways to start a LoRA take its first product away from the base's weights (PiSSA,
    CorDA, OLoRA, LoRA-GA) or quantize them (LoftQ). PEFT converts such an adapter when it saves
    it with the initial one, and then says `init_lora_weights: true`.

    Raises:
        IncompatibleAdapterError: Names the start and the remedy.
    """
    start = config.get("init_lora_weights", True)
    if any(start == known for known in _KEEP_THE_BASE):
        return
    if isinstance(start, str) and start.lower() in ("gaussian", "mica"):
        return
    if str(start).lower().startswith(_CHANGE_THE_BASE):
        raise IncompatibleAdapterError(
            f"init_lora_weights is {start!r}: the adapter was trained beside base weights that "
            f"this start had changed, and is wrong on the base itself; {_converted(str(start))}",
            field="init_lora_weights",
        )
    raise IncompatibleAdapterError(
        f"init_lora_weights is {start!r:.80}, which PEFT 0.21 does not know; it knows "
        f"{', '.join(map(str, (*_KEEP_THE_BASE, *_CHANGE_THE_BASE)))}",
        field="init_lora_weights",
    )


def is_folded_start(start: object) -> bool:
    """Return whether a start follows from the base's weights alone: importing can take it out."""
    return isinstance(start, str) and (start == "pissa" or start.lower() == "olora")


def _converted(start: str) -> str:
    if start == "loftq":
        return f"LoftQ's base is a quantized one of its own: {HOW_TO_SERVE_WHOLE_WEIGHTS}"
    by_import = (
        "`hub adapters import` computes the difference for this start, or "
        if is_folded_start(start)
        else ""
    )
    return (
        f"{by_import}save it again with PEFT's save_pretrained(…, "
        "path_initial_model_for_weight_conversion=the adapter as it was before training)"
    )


def _check_rank(files: AdapterFiles, module: str, rank: int) -> None:
    """Check the rank of the tensors against the one that PEFT gives the module."""
    default = files.config.get("r", 8)
    stated = files.rules.value("rank_pattern", module, default)
    if isinstance(stated, bool) or stated != rank:
        option = "r" if stated is default else "rank_pattern"
        raise IncompatibleAdapterError(
            f"{module}.{_A} has rank {rank}, {option} of the config says {stated!r:.40}; "
            "PEFT does not load such an adapter: save it again",
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


def _scaling(files: AdapterFiles, module: str, rank: int) -> float:
    """Return PEFT's factor: alpha / r, or alpha / sqrt(r) with rsLoRA."""
    default = files.config.get("lora_alpha", 8)
    alpha = files.rules.value("alpha_pattern", module, default)
    option = "lora_alpha" if alpha is default else "alpha_pattern"
    if not _is_finite_number(alpha):
        raise IncompatibleAdapterError(
            f"{option} holds {alpha!r:.40} for {module}, expected a finite number", field=option
        )
    return alpha / math.sqrt(rank) if files.config.get("use_rslora") else alpha / rank


def _is_finite_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max
