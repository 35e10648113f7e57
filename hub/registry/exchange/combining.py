"""Several LoRAs become one, as PEFT combines them, and are published with their parents."""

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
    from hub.bases import Base
    from hub.manifest import AdapterManifest
    from hub.registry import AdapterVersion, Registry

METHODS: Final = ("sum", "linear", "ties", "dare_linear", "dare_ties", "magnitude_prune")
"""`sum` is the exact weighted sum of the adapters' changes (PEFT's `cat`). `linear` is PEFT's: it
adds the A and the B matrices, each by the root of its weight, which keeps the rank and is no sum of
the changes. The others are PEFT's of that name."""

_DENSITY: Final = 0.5
_LARGEST: Final = 100.0
_LARGEST_RANK: Final = 1024
_OWN: Final = "merged"


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
        WrongBaseError: They belong to different bases, or to another than the one given.
        PairMismatchError: They translate different pairs.
        IncompatibleAdapterError: One is no plain LoRA, or the sum's rank is too large.
    """
    if method not in METHODS:
        raise InputError(
            f"method {method!r} is unknown; choose {', '.join(METHODS)}", field="method"
        )
    versions = [registry.resolve(parent.ref) for parent in parents]
    _check_alike(versions, base)
    folders = [registry.folder(version) for version in versions]
    pairs = zip(versions, folders, strict=True)
    rank = sum(_lora_config(version.ref, folder)["r"] for version, folder in pairs)
    if method == "sum" and rank > _LARGEST_RANK:
        raise IncompatibleAdapterError(
            f"the sum would have rank {rank}, the limit is {_LARGEST_RANK}; use --method linear, "
            "which keeps the rank"
        )
    with tempfile.TemporaryDirectory(prefix="hub-merge-") as scratch:
        folder = Path(scratch) / _OWN
        _combine(base, folders, [parent.weight for parent in parents], method, folder)
        manifest = _manifest(versions, parents, base, folder, method)
        return registry.publish(folder, name, manifest, aliases)


def _check_alike(versions: Sequence[AdapterVersion], base: Base) -> None:
    first = versions[0]
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


def _lora_config(ref: str, folder: Path) -> Mapping[str, Any]:
    config: Mapping[str, Any] = json.loads((folder / "adapter_config.json").read_text())
    if config.get("peft_type") != "LORA" or config.get("use_dora"):
        kind = "DoRA" if config.get("use_dora") else config.get("peft_type")
        raise IncompatibleAdapterError(
            f"{ref} is of kind {kind}, which PEFT does not combine; merge plain LoRAs"
        )
    return config


def _combine(
    base: Base, folders: Sequence[Path], weights: Sequence[float], method: str, target: Path
) -> None:
    """Let PEFT combine adapters, and write what it made as a plain LoRA."""
    import torch

    from hub.quiet import quiet_libraries
    from hub.registry.exchange.reference import load_transformers

    with quiet_libraries():
        from peft import PeftModel

        torch.manual_seed(0)  # DARE drops at random
        model = PeftModel.from_pretrained(load_transformers(base), str(folders[0]), "p0")
        for number, folder in enumerate(folders[1:], start=1):
            model.load_adapter(str(folder), f"p{number}")
        options: dict[str, Any] = {"combination_type": "cat" if method == "sum" else method}
        if method not in ("sum", "linear"):
            options["density"] = _DENSITY
        try:
            model.add_weighted_adapter(
                [f"p{number}" for number in range(len(folders))], list(weights), _OWN, **options
            )
        except (ValueError, NotImplementedError) as error:
            raise IncompatibleAdapterError(f"PEFT does not combine them: {error}") from None
        model.save_pretrained(str(target.parent), selected_adapters=[_OWN])
    (target / "README.md").unlink(missing_ok=True)  # PEFT's template


def _manifest(
    versions: Sequence[AdapterVersion],
    parents: Sequence[Parent],
    base: Base,
    folder: Path,
    method: str,
) -> AdapterManifest:
    from safetensors import safe_open

    from hub.bases.languages import said_text
    from hub.manifest import AdapterManifest, BaseReference

    config = json.loads((folder / "adapter_config.json").read_text())
    with safe_open(folder / "adapter_model.safetensors", framework="numpy") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    records = tuple(
        ParentRecord(ref=version.ref, digest=version.digest, weight=parent.weight)
        for version, parent in zip(versions, parents, strict=True)
    )
    return AdapterManifest(
        pair=versions[0].manifest.pair,
        method="lora",
        size=int(config["r"]),
        budget=None,
        trainable_parameters=sum(math.prod(shape) for shape in shapes),
        base=BaseReference(
            name=base.label,
            digest=base.digest,
            parameters=base.parameters,
            licence=base.licence,
            languages=said_text(base),
        ),
        origin=OriginRecord(kind="merged", source=method, parents=records),
    )
