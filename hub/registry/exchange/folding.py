"""Adapters that are low-rank by nature, written as the LoRA that they are equal to.

AdaLoRA (arXiv 2303.10512) is `B (A * E)` with a factor, VeRA (2310.11454) is two shared random
matrices scaled by a vector each, and a LoRA started by PiSSA (2404.02948) or OLoRA (2406.01775)
is the difference of two products: its own and the one that the start took away from the base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from hub.engine.readers.lora import is_folded_start
from hub.errors import IncompatibleAdapterError
from hub.registry.exchange.reference import NAME, Reference

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PREFIX: Final = "base_model.model."
MAX_START_RANK: Final = 1024
"""Of AdaLoRA, which prunes from there; 12 by default."""


@dataclass(frozen=True)
class Folded:
    """A LoRA equal to an adapter of another form.

    Attributes:
        config: Its adapter_config.json, without what every import writes.
        tensors: By the names that PEFT saves.
        method: What it was.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    method: str


def needs_folding(config: Mapping[str, Any]) -> bool:
    """Return whether an adapter must be written as another LoRA to be served."""
    if config.get("peft_type") in ("ADALORA", "VERA"):
        return True
    start = config.get("init_lora_weights")
    return config.get("peft_type") == "LORA" and is_folded_start(start)


def check_foldable(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Check AdaLoRA's and VeRA's options, and the sizes that PEFT would allocate by them.

    Raises:
        IncompatibleAdapterError: An option trains more than low-rank products, or tensors and
            config contradict each other; names the option.
    """
    kind = str(config["peft_type"])
    if kind == "LORA" and needs_folding(config):
        _refuse(config, kind, "bias", config.get("bias", "none") != "none")
        option = "trainable_token_indices"
        _refuse(config, kind, option, bool(config.get(option)))
    if kind not in ("ADALORA", "VERA"):
        return
    for option in ("modules_to_save", "fan_in_fan_out", "trainable_token_indices"):
        _refuse(config, kind, option, bool(config.get(option)))
    _refuse(config, kind, "bias", config.get("bias", "none") != "none")
    _refuse(config, kind, "megatron_config", bool(config.get("megatron_config")))
    for name, tensor in tensors.items():
        module, _, part = name.removeprefix(PREFIX).rpartition(".")
        if kind == "VERA" and part == "vera_lambda_d":
            _expect(name, tensor.numel(), "r", config.get("r", 256))
        elif kind == "ADALORA" and part == "lora_E":
            _check_pruned(config, name, module, len(tensor) if tensor.dim() else 0)


def _check_pruned(config: Mapping[str, Any], name: str, module: str, rank: int) -> None:
    """Check a module of AdaLoRA against its mask, or against the rank that all start with."""
    first = config.get("init_r", 12)
    if not isinstance(first, int) or not 0 < first <= MAX_START_RANK:
        raise IncompatibleAdapterError(
            f"init_r is {first!r:.40}, expected 1 to {MAX_START_RANK}", field="init_r"
        )
    pattern = config.get("rank_pattern")
    if not pattern:
        _expect(name, rank, "init_r", first)
        return
    mask = pattern.get(f"{module}.lora_E") if isinstance(pattern, Mapping) else None
    if not isinstance(mask, list) or len(mask) != first or not set(mask) <= {True, False}:
        raise IncompatibleAdapterError(
            f"rank_pattern has no mask of {first} values for {module}.lora_E; save the adapter "
            "again",
            field="rank_pattern",
        )
    _expect(name, rank, "rank_pattern", sum(mask))


def _expect(name: str, rank: int, option: str, stated: object) -> None:
    if rank != stated:
        raise IncompatibleAdapterError(
            f"{name} has rank {rank}, {option} of the config says {stated!r:.40}; save the "
            "adapter again",
            field=option,
        )


def fold(config: Mapping[str, Any], reference: Reference) -> Folded:
    """Return the LoRA that an adapter is equal to.

    Args:
        config: The adapter's.
        reference: The adapter in PEFT, whose numbers are taken.

    Raises:
        IncompatibleAdapterError: It acts nowhere.
    """
    kind = str(config["peft_type"])
    if kind == "LORA":
        folded = plain_lora(_differences(reference), str(config["init_lora_weights"]).upper())
        return _with_magnitudes(folded, reference) if config.get("use_dora") else folded
    find = {"ADALORA": _adalora, "VERA": _vera}[kind]
    return plain_lora(find(reference), kind)


def _refuse(config: Mapping[str, Any], kind: str, option: str, present: bool) -> None:
    if present:
        raise IncompatibleAdapterError(
            f"{kind} with {option}={config[option]!r:.60} is more than low-rank, and is not "
            "converted; merge it into a copy of its base and serve that as a base of its own",
            field=option,
        )


_Products = Mapping[str, tuple["torch.Tensor", "torch.Tensor"]]


def plain_lora(products: _Products, method: str) -> Folded:
    """Return a LoRA with the factor 1 at every site: alpha is the rank.

    Args:
        products: A and B by module.
        method: What they were.

    Raises:
        IncompatibleAdapterError: There are none.
    """
    if not products:
        raise IncompatibleAdapterError(
            "no site of the adapter has a rank above 0: it would not act", field="rank_pattern"
        )
    ranks = {name: down.shape[0] for name, (down, _) in products.items()}
    most = max(ranks.values())
    other = {name: rank for name, rank in sorted(ranks.items()) if rank != most}
    config = {
        "peft_type": "LORA", "r": most, "lora_alpha": most, "rank_pattern": other,
        "alpha_pattern": other, "target_modules": sorted(products), "use_rslora": False,
        "use_dora": False, "bias": "none", "init_lora_weights": True, "lora_dropout": 0.0,
        "fan_in_fan_out": False, "modules_to_save": None,
    }  # fmt: skip
    tensors: dict[str, Tensor] = {}
    for name, (down, up) in products.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = down.detach().float().contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = up.detach().float().contiguous()
    return Folded(config, tensors, method)


def _with_magnitudes(folded: Folded, reference: Reference) -> Folded:
    """Return DoRA as it was: its magnitudes are of the whole weight, which folding leaves as is."""
    from peft.tuners.lora import LoraLayer

    magnitudes = {
        f"{PREFIX}{name}.lora_magnitude_vector": module.lora_magnitude_vector[NAME].weight.detach()
        for name, module in _sites(reference, LoraLayer).items()
    }
    config = {**folded.config, "use_dora": True}
    return replace(folded, config=config, tensors={**folded.tensors, **magnitudes})


def _sites(reference: Reference, layer: type) -> dict[str, Any]:
    return {
        name.removeprefix(PREFIX): module
        for name, module in reference.model.named_modules()
        if isinstance(module, layer)
    }


def _adalora(reference: Reference) -> _Products:
    """Return `(A * E) * factor` and B by site; what was pruned to rank 0 has none."""
    from peft.tuners.adalora import AdaLoraLayer

    products = {}
    for name, module in _sites(reference, AdaLoraLayer).items():
        if not module.lora_A[NAME].shape[0]:
            continue
        factor = module.scaling[NAME] / (float(module.ranknum[NAME]) + 1e-5)
        scaled = module.lora_A[NAME].double() * module.lora_E[NAME].double() * factor
        products[name] = scaled, module.lora_B[NAME]
    return products


def _vera(reference: Reference) -> _Products:
    """Return the shared matrices, cut to the site and scaled by its two vectors."""
    from peft.tuners.vera import VeraLayer

    products = {}
    for name, module in _sites(reference, VeraLayer).items():
        down = module.vera_A[NAME][:, : module.in_features].double()
        up = module.vera_B[NAME][: module.out_features].double()
        scale_down, scale_up = module.vera_lambda_d[NAME], module.vera_lambda_b[NAME]
        products[name] = scale_down[:, None].double() * down, scale_up[:, None].double() * up
    return products


def _differences(reference: Reference) -> _Products:
    """Return `[A; A0]` and `s [B, -B0]`, where A0 and B0 are what the start took away."""
    import torch
    from peft.tuners.lora import LoraLayer

    products = {}
    for name, module in _sites(reference, LoraLayer).items():
        first_down, first_up = reference.start[PREFIX + name]
        down = torch.cat([module.lora_A[NAME].weight, first_down])
        up = torch.cat([module.lora_B[NAME].weight, -first_up], dim=1)
        products[name] = down, up.double() * module.scaling[NAME]
    return products
