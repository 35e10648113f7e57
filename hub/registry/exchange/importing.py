"""A PEFT adapter from elsewhere becomes a version of the registry, or is refused by name."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.bases import Base, open_base
from hub.bases.languages import said_text
from hub.bases.tokenizer import load_tokenizer
from hub.console import note
from hub.errors import AdapterBindingError, StorageFullError
from hub.manifest import AdapterManifest, BaseReference, OriginRecord
from hub.registry.exchange.costs import check_cost
from hub.registry.exchange.equality import SLOT, Comparison, compare_with_peft
from hub.registry.exchange.folding import check_foldable, fold, needs_folding
from hub.registry.exchange.foreign import IMPORTED, ForeignAdapter, read_foreign
from hub.registry.exchange.lines import lines_of
from hub.registry.exchange.reference import load_transformers, put_into_peft, same
from hub.registry.exchange.sources import CONFIG, SAFETENSORS, find_source
from hub.registry.faults import storage_faults

if TYPE_CHECKING:
    from torch import Tensor

    from hub.engine.adapters import HostAdapter
    from hub.engine.engine import Engine
    from hub.languages import LanguagePair
    from hub.registry import AdapterVersion, Registry

PREFIX: Final = "base_model.model."
_TASK: Final = "SEQ_2_SEQ_LM"
_ROWS: Final = ".trainable_tokens_delta"
_NOT_KEPT: Final = ("auto_mapping", "revision")
"""Options that say nothing of the adapter here; `auto_mapping` names modules that are imported."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an adapter.

    Attributes:
        version: In the registry.
        comparison: With PEFT.
        told: What a user should know of: ignored files, other names, another base's name.
    """

    version: AdapterVersion
    comparison: Comparison
    told: tuple[str, ...]


@dataclass(frozen=True)
class _Written:
    """An adapter folder as it is published, without its manifest."""

    folder: Path
    config: Mapping[str, Any]
    method: str


def import_adapter(
    registry: Registry,
    ref: str,
    pair: LanguagePair,
    *,
    base_ref: str,
    name: str = "",
    aliases: Sequence[str] = (),
) -> Imported:
    """Check a PEFT adapter against a base and against PEFT, and publish it.

    Args:
        registry: Where it is published.
        ref: A folder, or an id of the Hugging Face Hub.
        pair: What it translates.
        base_ref: The base that it was trained on.
        name: In the registry; pair.method where it is "".
        aliases: Moved to the new version.

    Raises:
        AdapterNotFoundError: There is no such adapter.
        IncompatibleAdapterError: It cannot be served, or PEFT cannot load it.
        AdapterBindingError: A tensor does not bind to the base.
        EqualityGateError: The engine computes it in another way than PEFT.
        LanguageError: The base does not have a language of the pair.
        StorageFullError: The disk is full; nothing was published.
    """
    source = find_source(ref)
    base = open_base(base_ref)
    tokenizer = load_tokenizer(base)
    lines = lines_of(pair.source)
    for line in lines:
        tokenizer.encode_source(line, pair.source, pair.target)
    tokenizer.target_prefix(pair.target)
    foreign = read_foreign(source, base.dimensions)
    with storage_faults(tempfile.gettempdir(), "nothing imported"):
        scratch = tempfile.TemporaryDirectory(prefix="hub-import-")
    with scratch as place:
        note(f"checking the adapter against {base.label} and PEFT, in float32")
        engine = _engine(base)
        model = load_transformers(base)
        foreign = _without_copies_of_the_base(foreign, model.state_dict())
        foreign = _without_tied_copies(foreign, base)
        written, reference = _convert(foreign, base, model, engine, Path(place))
        adapter = _bound(engine, written.folder, foreign, base)
        engine.place(SLOT, adapter)
        comparison = compare_with_peft(engine, reference, tokenizer, pair, lines)
        manifest = _manifest(foreign, written, base, pair, adapter)
        own_name = name or f"{pair}.{manifest.method}".lower()
        version = registry.publish(written.folder, own_name, manifest, aliases)
    return Imported(version, comparison, (*_hint(foreign, base), *foreign.told))


def _engine(base: Base) -> Engine:
    from hub.engine.engine import Engine

    return Engine.load(base, quantization="float32", slots=1, max_rows=8)


def _convert(
    foreign: ForeignAdapter, base: Base, model: Any, engine: Engine, place: Path
) -> tuple[_Written, Any]:
    """Write the adapter as it is served, and return it with the original in PEFT."""
    original = place / "original"
    config = kept_config(foreign.config, base)
    check_foldable(config, foreign.tensors)
    check_cost(config, [name for name, _ in model.named_modules()])
    write_adapter(original, config, foreign.tensors)
    if not needs_folding(config):
        _bound(engine, original, foreign, base)  # says more of what does not bind than PEFT
        reference = put_into_peft(model, original, foreign.tensors)
        return _Written(original, config, ""), reference.model
    if config["peft_type"] == "LORA":  # a start that is taken out; all else is as in a plain LoRA
        write_adapter(place / "plain", {**config, "init_lora_weights": True}, foreign.tensors)
        _bound(engine, place / "plain", foreign, base)
    reference = put_into_peft(model, original, foreign.tensors)
    folded = fold(config, reference)
    own = kept_config(folded.config, base)
    write_adapter(place / "folded", own, folded.tensors)
    return _Written(place / "folded", own, folded.method), reference.model


def kept_config(config: Mapping[str, Any], base: Base) -> Mapping[str, Any]:
    """Return a config as it is published, with the base's own name."""
    kept = {key: value for key, value in config.items() if key not in _NOT_KEPT}
    known = {"base_model_name_or_path": base.label, "task_type": _TASK, "inference_mode": True}
    return kept | known


def write_adapter(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    undone: str = "nothing imported",
) -> None:
    """Write an adapter folder without a manifest.

    Args:
        folder: Made here.
        config: Its adapter_config.json.
        tensors: By the names that PEFT saves.
        undone: What a full disk prevented, for the message.

    Raises:
        StorageFullError: The disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    text = json.dumps(config, ensure_ascii=False, sort_keys=False, indent=2) + "\n"
    with storage_faults(str(folder), undone):
        folder.mkdir()
        (folder / CONFIG).write_text(text, encoding="utf-8")
        separate = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
        try:
            save_file(separate, folder / SAFETENSORS, metadata={"format": "pt"})
        except SafetensorError as error:
            raise StorageFullError(
                f"{folder / SAFETENSORS} cannot be written ({error}), {undone}; free some "
                "space in the folder of temporary files, or name another with TMPDIR"
            ) from error


def _bound(engine: Engine, folder: Path, foreign: ForeignAdapter, base: Base) -> Any:
    """Read the adapter in the engine; where it does not bind, say which base it names."""
    try:
        return engine.read_adapter(folder)
    except AdapterBindingError as error:
        if not foreign.base_hint or _is_named(foreign.base_hint, base):
            raise
        raise AdapterBindingError(
            f"{error.message}. The adapter's config names the base {foreign.base_hint!r:.120}, "
            f"and it was checked against {base.label!r}; name its own with --base",
            field="base",
        ) from error


def _is_named(hint: str, base: Base) -> bool:
    """Return whether the base that an adapter names may be this one, by its name alone."""
    wanted = hint.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
    known = (base.label, base.name, str(base.config.get("_name_or_path", "")))
    return wanted in {
        name.partition("@")[0].rstrip("/").rpartition("/")[2].lower() for name in known
    }


def _hint(foreign: ForeignAdapter, base: Base) -> tuple[str, ...]:
    if not foreign.base_hint or _is_named(foreign.base_hint, base):
        return ()
    return (
        f"the adapter's config names the base {foreign.base_hint!r:.120}, it was checked against "
        f"{base.label!r}",
    )


def _without_copies_of_the_base(
    foreign: ForeignAdapter, weights: Mapping[str, Tensor]
) -> ForeignAdapter:
    """Leave out tensors of the base that were saved along and are still the base's.

    Raises:
        AdapterBindingError: One was trained, or is of another shape.
    """
    biases = foreign.config.get("bias", "none") != "none"
    copies = {
        name: own
        for name in foreign.tensors
        if (own := _name_in_base(name)) in weights and not (biases and own.endswith(".bias"))
    }
    for name, own in copies.items():
        _check_copy(name, foreign.tensors[name], weights[own])
    if not copies:
        return foreign
    rest = {name: each for name, each in foreign.tensors.items() if name not in copies}
    told = f"{len(copies)} tensors of the base itself, equal to its own, left out"
    return replace(foreign, tensors=rest, told=(*foreign.told, told))


def _without_tied_copies(foreign: ForeignAdapter, base: Base) -> ForeignAdapter:
    """Keep rows of a tied token table once: PEFT saves them for each module that shares it.

    Those that differ are left for the engine's reader to refuse.
    """
    from hub.engine.families import find_family

    first, *others = find_family(base.config).table_modules()
    copies = {
        f"{PREFIX}{table}{ending}": f"{PREFIX}{first}{ending}"
        for table in others
        for ending in (_ROWS, f".token_adapter{_ROWS}")
    }
    tensors = foreign.tensors
    rest = {
        name: tensor
        for name, tensor in tensors.items()
        if copies.get(name) not in tensors or not same(tensor, tensors[copies[name]])
    }
    return replace(foreign, tensors=rest)


def _name_in_base(name: str) -> str:
    return name.removeprefix(PREFIX).replace(".base_layer.", ".")


def _check_copy(name: str, tensor: Tensor, own: Tensor) -> None:
    if tensor.shape != own.shape:
        raise AdapterBindingError(
            f"tensor {name!r} has shape {tuple(tensor.shape)}, the base has {tuple(own.shape)}: "
            "the adapter was trained on a base with a resized vocabulary, which is a base of its "
            "own; save that base and name it with --base"
        )
    if not bool((tensor == own.to(tensor.dtype)).all()):
        raise AdapterBindingError(
            f"tensor {name!r} holds the base's own weights, changed: no slot holds whole weights; "
            "merge the adapter into a copy of its base and serve that folder as a base of its own"
        )


def _manifest(
    foreign: ForeignAdapter, written: _Written, base: Base, pair: LanguagePair, adapter: HostAdapter
) -> AdapterManifest:
    return AdapterManifest(
        pair=str(pair),
        method=IMPORTED[foreign.kind],
        size=_size(written.config),
        budget=None,
        trainable_parameters=adapter.parameters,
        token_rows=0 if foreign.kind == "TRAINABLE_TOKENS" else adapter.table_rows,
        base=BaseReference(
            name=base.label,
            digest=base.digest,
            parameters=base.parameters,
            licence=base.licence,
            languages=said_text(base),
        ),
        origin=OriginRecord(
            kind="imported", source=foreign.source, digest=foreign.digest, method=written.method
        ),
    )


def _size(config: Mapping[str, Any]) -> int:
    """Return the largest rank, prefix length or number of rows; 0 where the kind has none."""
    if config["peft_type"] == "PREFIX_TUNING":
        return int(config["num_virtual_tokens"])
    if config["peft_type"] == "TRAINABLE_TOKENS":
        return len(config["token_indices"])
    if config["peft_type"] != "LORA":
        return 0
    ranks = [config.get("r", 8), *(config.get("rank_pattern") or {}).values()]
    return max(int(rank) for rank in ranks)
