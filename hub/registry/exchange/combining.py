"""Several LoRAs become one, as PEFT combines them, and are published with their parents.

What is published says every module, rank and factor by name, so that nothing depends on rules of
the parents' configs (patterns, layers, rsLoRA), which differ from parent to parent.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.errors import IncompatibleAdapterError, InputError, PairMismatchError, WrongBaseError
from hub.provenance import OriginRecord, ParentRecord

if TYPE_CHECKING:
    from torch import Tensor

    from hub.bases import Base
    from hub.manifest import AdapterManifest
    from hub.registry import AdapterVersion, Registry

METHODS: Final = ("sum", "linear", "ties", "dare_linear", "dare_ties", "magnitude_prune")
"""`sum` is the exact weighted sum of the adapters' deltas: of rank `sum(r)`. `linear` is PEFT's:
`A = sum(sqrt(w s) A_i)` and `B` likewise, which keeps the rank and is no sum of the deltas. The
others are PEFT's of that name."""

_DENSITY: Final = 0.5
_LARGEST: Final = 100.0
_LARGEST_RANK: Final = 1024
_OWN: Final = "merged"
_CLOSE: Final = 1e-4
"""Relative difference of deltas that float32 explains."""

_Products = Mapping[str, tuple["Tensor", "Tensor"]]
"""By module: A `(rank, in)` and B `(out, rank)`, with the factor 1."""


@dataclass(frozen=True)
class Parent:
    """One adapter to be combined, with its weight."""

    ref: str
    weight: float


def parse_parents(texts: Sequence[str]) -> list[Parent]:
    """Read `REF=WEIGHT` words.

    Raises:
        InputError: There are fewer than two, one is named twice, or a weight is no number from
            -100 to 100 other than 0.
    """
    found: list[Parent] = []
    for text in texts:
        ref, _, number = text.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not ref or not math.isfinite(weight) or not 0 < abs(weight) <= _LARGEST:
            raise InputError(
                f"{text[:100]!r} is not REF=WEIGHT with a weight from -{_LARGEST:g} to "
                f"{_LARGEST:g} other than 0, as en-ko.news=0.7",
                field="parents",
            )
        found.append(Parent(ref, weight))
    if len(found) < 2:
        raise InputError(
            f"{len(found)} adapter to merge; name two or more, as A=0.7 B=0.3", field="parents"
        )
    return found


def merge_adapters(
    registry: Registry,
    parents: Sequence[Parent],
    *,
    base: Base,
    method: str,
    name: str,
    aliases: Sequence[str] = (),
) -> AdapterVersion:
    """Combine LoRAs of one pair on one base, and publish the result.

    Raises:
        InputError: The method is unknown, or an adapter is named twice.
        WrongBaseError: They belong to different bases, to another than the one given, or were made
            for other languages of it.
        PairMismatchError: They translate different pairs.
        IncompatibleAdapterError: One is no plain LoRA, PEFT does not combine them, the rank is too
            large, or the engine does not read what came out.
    """
    if method not in METHODS:
        raise InputError(
            f"method {method!r} is unknown; choose {', '.join(METHODS)}", field="method"
        )
    versions = [registry.resolve(parent.ref) for parent in parents]
    _check_alike(versions, base)
    folders = [registry.folder(version) for version in versions]
    for version, folder in zip(versions, folders, strict=True):
        _check_kind(version.ref, folder)
    products = _combine(base, folders, [parent.weight for parent in parents], method)
    with tempfile.TemporaryDirectory(prefix="hub-merge-") as scratch:
        folder = Path(scratch) / _OWN
        rank = _write(folder, products, base)
        parameters = _check_read(base, folder, products)
        manifest = _manifest(versions, parents, base, method, rank=rank, parameters=parameters)
        return registry.publish(folder, name, manifest, aliases)


def _check_alike(versions: Sequence[AdapterVersion], base: Base) -> None:
    from hub.bases.languages import said_text

    first, said = versions[0], said_text(base)
    digests = [version.digest for version in versions]
    for version in versions:
        if digests.count(version.digest) > 1:
            raise InputError(f"{version.ref} is named twice; name it once", field="parents")
        if version.manifest.pair != first.manifest.pair:
            raise PairMismatchError(
                f"{version.ref} translates {version.manifest.pair}, {first.ref} "
                f"{first.manifest.pair}; merge adapters of one pair"
            )
        if not base.answers_to(version.manifest.base.digest):
            raise WrongBaseError(
                f"{version.ref} belongs to base {version.manifest.base.name!r} "
                f"({version.manifest.base.digest}), at hand is {base.label!r} ({base.digest}); "
                "adapters of different bases do not merge, and --base names their base"
            )
        if version.manifest.base.languages != said:
            raise WrongBaseError(
                f"{version.ref} was made for {version.manifest.base.languages!r} as the base's "
                f"languages, here they are {said!r}; merge it where --languages says the same"
            )


def _check_kind(ref: str, folder: Path) -> None:
    """Check that a parent is a LoRA and nothing beside.

    Raises:
        IncompatibleAdapterError: Names what it is.
    """
    from hub.registry.exchange.sources import CONFIG

    config: Mapping[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    kind = "DoRA" if config.get("use_dora") else config.get("peft_type")
    if kind != "LORA":
        raise IncompatibleAdapterError(
            f"{ref} is of kind {kind}, which PEFT does not combine; merge plain LoRAs"
        )
    if config.get("trainable_token_indices"):
        raise IncompatibleAdapterError(
            f"{ref} has rows of the token table beside its LoRA, which PEFT leaves out when it "
            "combines adapters; merge LoRAs without trainable_token_indices",
            field="trainable_token_indices",
        )
    if config.get("bias", "none") != "none":
        raise IncompatibleAdapterError(
            f"{ref} has trained biases (bias={config['bias']!r}), which PEFT leaves out when it "
            "combines adapters; merge LoRAs with bias='none'",
            field="bias",
        )


def _combine(
    base: Base, folders: Sequence[Path], weights: Sequence[float], method: str
) -> _Products:
    """Return the combined LoRA by module, computed by PEFT or, for `sum`, from what PEFT read.

    Raises:
        IncompatibleAdapterError: PEFT does not load or combine the adapters, or the rank is too
            large.
    """
    from hub.quiet import quiet_libraries
    from hub.registry.exchange.reference import load_transformers

    model = load_transformers(base)
    names = [f"p{number}" for number in range(len(folders))]
    try:
        with quiet_libraries():
            from peft import PeftModel

            peft = PeftModel.from_pretrained(model, str(folders[0]), names[0])
            for name, folder in zip(names[1:], folders[1:], strict=True):
                peft.load_adapter(str(folder), name)
            if method == "sum":
                return _sum(peft, names, weights)
            return _by_peft(peft, names, weights, method)
    except (ValueError, RuntimeError, TypeError, KeyError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise IncompatibleAdapterError(
            f"PEFT does not combine these adapters by {method} ({reason:.300}); use --method sum"
            if method != "sum"
            else f"PEFT does not load these adapters together ({reason:.300})"
        ) from error


def _sum(peft: Any, names: Sequence[str], weights: Sequence[float]) -> _Products:
    """Return the exact sum: all A under each other, all B scaled beside each other."""
    import torch

    products = {}
    for module, layer in _layers(peft).items():
        own = [(name, weight) for name, weight in zip(names, weights, strict=True)
               if name in layer.lora_A]  # fmt: skip
        down = torch.cat([layer.lora_A[name].weight for name, _ in own])
        if len(down) > _LARGEST_RANK:
            raise IncompatibleAdapterError(
                f"the sum would have rank {len(down)} at {module}, the limit is {_LARGEST_RANK}; "
                "use --method linear, which keeps the rank"
            )
        up = torch.cat(
            [layer.lora_B[name].weight * (weight * layer.scaling[name]) for name, weight in own], 1
        )
        products[module] = down.detach(), up.detach()
    return products


def _by_peft(peft: Any, names: Sequence[str], weights: Sequence[float], method: str) -> _Products:
    """Let PEFT combine the adapters.

    PEFT takes the new adapter's config from the first one. So what the first says of modules and
    factors is taken out before; the factors of the loaded adapters are computed already.
    """
    import torch

    for name in names:
        config = peft.peft_config[name]
        config.target_modules = {m for m, layer in _layers(peft).items() if name in layer.lora_A}
        config.layers_to_transform = config.layers_pattern = config.exclude_modules = None
        config.use_rslora = False
    torch.manual_seed(0)  # DARE drops at random
    density = {} if method == "linear" else {"density": _DENSITY}
    peft.add_weighted_adapter(names, list(weights), _OWN, combination_type=method, **density)
    return {
        module: (layer.lora_A[_OWN].weight.detach(), layer.lora_B[_OWN].weight.detach())
        for module, layer in _layers(peft).items()
        if _OWN in layer.lora_A
    }


def _layers(peft: Any) -> dict[str, Any]:
    """Return the modules that have a LoRA, by their path in the base."""
    from peft.tuners.lora import LoraLayer

    return {
        name: module
        for name, module in peft.get_base_model().named_modules()
        if isinstance(module, LoraLayer)
    }


def _write(folder: Path, products: _Products, base: Base) -> int:
    """Write an adapter folder that names every module; return its largest rank."""
    from hub.registry.exchange.folding import plain_lora
    from hub.registry.exchange.importing import kept_config, write_adapter

    folded = plain_lora(products, _OWN)
    write_adapter(folder, kept_config(folded.config, base), folded.tensors, "nothing was merged")
    return int(folded.config["r"])


def _check_read(base: Base, folder: Path, products: _Products) -> int:
    """Check that the engine reads the deltas that were computed; return their parameters.

    Each delta is compared by what it makes of one random vector.

    Raises:
        IncompatibleAdapterError: It reads others.
    """
    import torch

    from hub.registry.exchange.merging import read_deltas

    adapter, deltas = read_deltas(base, folder)
    chance = torch.Generator().manual_seed(0)
    acting = {module for module, (down, _) in products.items() if bool(down.any())}
    if deltas.keys() != acting:
        odd = sorted(deltas.keys() ^ acting)
        raise IncompatibleAdapterError(f"the engine reads other modules than PEFT: {odd[:3]}")
    for module in sorted(acting):
        down, up = products[module]
        probe = torch.randn(down.shape[1], generator=chance, dtype=torch.float64)
        expected = up.double() @ (down.double() @ probe)
        found = deltas[module][1].double() @ (deltas[module][0].double() @ probe)
        if float((found - expected).norm()) > _CLOSE * float(expected.norm()) + 1e-9:
            raise IncompatibleAdapterError(
                f"the engine computes another delta at {module} than PEFT; nothing was published"
            )
    return adapter.parameters


def _manifest(
    versions: Sequence[AdapterVersion],
    parents: Sequence[Parent],
    base: Base,
    method: str,
    *,
    rank: int,
    parameters: int,
) -> AdapterManifest:
    from hub.bases.languages import said_text
    from hub.manifest import AdapterManifest, BaseReference

    records = tuple(
        ParentRecord(ref=version.ref, digest=version.digest, weight=parent.weight)
        for version, parent in zip(versions, parents, strict=True)
    )
    return AdapterManifest(
        pair=versions[0].manifest.pair,
        method="lora",
        size=rank,
        budget=None,
        trainable_parameters=parameters,
        base=BaseReference(
            name=base.label,
            digest=base.digest,
            parameters=base.parameters,
            licence=base.licence,
            languages=said_text(base),
        ),
        origin=OriginRecord(kind="merged", source=method, parents=records),
    )
