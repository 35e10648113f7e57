"""Exports of an adapter: a PEFT folder, the Hub's layout, a merged base, a CTranslate2 model.

An export is written to a temporary folder beside the target and renamed when it is complete, so
that a full disk or Ctrl-C leave nothing that looks like an export.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from hub.bases.files import RECORD, side_files
from hub.errors import IncompatibleAdapterError, InputError, StorageFullError, WrongBaseError
from hub.golden import GOLDEN_FILE
from hub.manifest import MANIFEST_FILE, AdapterManifest
from hub.registry.exchange.card import PLUGINS, adapter_card, merged_card
from hub.vocabulary import VOCABULARY_FILE

if TYPE_CHECKING:
    from torch import Tensor

    from hub.bases import Base

Layout = Literal["peft", "hf", "ctranslate2", "base"]
LAYOUTS: Final[tuple[Layout, ...]] = ("peft", "hf", "ctranslate2", "base")
"""The last two merge the adapter into its base."""

QUANTIZATIONS: Final = ("int8", "int8_float32", "float32")
_CONFIG: Final = "adapter_config.json"
_WEIGHTS: Final = "adapter_model.safetensors"
_CARD: Final = "README.md"
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


@dataclass(frozen=True)
class Outgoing:
    """An adapter to be exported.

    Attributes:
        ref: name:version, as people find it again.
        folder: Its files, verified.
        base: The base that it belongs to; needed to merge, and named by its card.
    """

    ref: str
    digest: str
    manifest: AdapterManifest
    folder: Path
    base: Base | None = None

    @property
    def kind(self) -> str:
        """Return its `peft_type`."""
        return str(_json(self.folder / _CONFIG).get("peft_type"))


def export(adapter: Outgoing, layout: Layout, target: Path, quantization: str = "int8") -> str:
    """Write an adapter for others; return what the user should know, "" for nothing.

    Args:
        adapter: What to write.
        layout: For whom.
        target: A folder that is not there yet, or empty.
        quantization: Of a CTranslate2 model.

    Raises:
        InputError: The target holds something, or the quantization is unknown.
        IncompatibleAdapterError: This kind does not merge.
        WrongBaseError: The base is another than the adapter's.
        StorageFullError: The disk is full; nothing was written.
    """
    if quantization not in QUANTIZATIONS:
        raise InputError(
            f"quantization {quantization!r} is unknown; choose {', '.join(QUANTIZATIONS)}",
            field="quantization",
        )
    with staged(target) as stage:
        if layout in ("peft", "hf"):
            return _write_adapter(adapter, stage, for_hub=layout == "hf")
        if layout == "base":
            _write_base(adapter, stage)
            return ""
        _write_ctranslate2(adapter, stage, quantization)
        return ""


def layout_of(name: str) -> Layout:
    """Return a layout by its name.

    Raises:
        InputError: There is none of that name.
    """
    for layout in LAYOUTS:
        if layout == name:
            return layout
    raise InputError(f"--to {name!r} is unknown; choose {', '.join(LAYOUTS)}", field="to")


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes the target when the block ends well.

    Raises:
        InputError: The target holds something, or cannot be written.
        StorageFullError: The disk is full.
    """
    try:
        target = target.resolve()
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InputError(f"{target} is there and not empty; name a new folder", field="out")
        target.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".export-", dir=target.parent))
    except (OSError, ValueError, RuntimeError) as error:  # too long, a null character, a link loop
        raise _unwritable(target, error) from None
    try:
        yield stage
        stage.chmod(0o755)
        if target.exists():
            target.rmdir()
        os.rename(stage, target)
    except OSError as error:
        raise (_full if error.errno in _NO_ROOM else _unwritable)(target, error) from error
    except Exception as error:
        if type(error).__name__ == "SafetensorError":  # how safetensors tells of a full disk
            raise _full(target, error) from error
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _unwritable(target: Path, error: Exception) -> InputError:
    why = getattr(error, "strerror", None) or str(error)
    return InputError(f"{str(target)[:300]} cannot be made: {why}; name another", field="out")


def _full(target: Path, error: Exception) -> StorageFullError:
    why = getattr(error, "strerror", None) or str(error)
    return StorageFullError(f"{target} cannot be written ({why}); nothing was exported")


def _write_adapter(adapter: Outgoing, stage: Path, *, for_hub: bool) -> str:
    """Write PEFT's two files and a card; in the Hub's layout without the hub's own files."""
    config = {**_json(adapter.folder / _CONFIG), "base_model_name_or_path": _base_id(adapter)}
    (stage / _CONFIG).write_text(
        json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
    )
    shutil.copyfile(adapter.folder / _WEIGHTS, stage / _WEIGHTS)
    card = adapter_card(adapter.manifest, adapter.kind, _base_id(adapter), adapter.ref)
    (stage / _CARD).write_text(card, encoding="utf-8")
    listed = (adapter.folder / VOCABULARY_FILE).is_file()
    if listed and not for_hub:
        shutil.copyfile(adapter.folder / VOCABULARY_FILE, stage / VOCABULARY_FILE)
    if not for_hub:
        shutil.copyfile(adapter.folder / MANIFEST_FILE, stage / MANIFEST_FILE)
        if (adapter.folder / GOLDEN_FILE).exists():
            shutil.copyfile(adapter.folder / GOLDEN_FILE, stage / GOLDEN_FILE)
    if adapter.kind not in PLUGINS:
        return ""
    return (
        f"{adapter.kind} is a method of this project: PEFT loads the folder only after "
        f"`import {PLUGINS[adapter.kind]}`, as its README says"
    )


def _base_id(adapter: Outgoing) -> str:
    """Return the name of the base without folders of this machine.

    Raises:
        WrongBaseError: The base at hand is another than the adapter's.
    """
    return adapter.manifest.base.name if adapter.base is None else checked_base(adapter).label


def checked_base(adapter: Outgoing) -> Base:
    """Return the adapter's base.

    Raises:
        WrongBaseError: None is at hand, or another one.
    """
    base = adapter.base
    if base is None or not base.answers_to(adapter.manifest.base.digest):
        found = "none" if base is None else f"{base.label!r} ({base.digest})"
        raise WrongBaseError(
            f"{adapter.ref} belongs to base {adapter.manifest.base.name!r} "
            f"({adapter.manifest.base.digest}), at hand is {found}; name its base with --base",
            field="base",
        )
    _check_languages(adapter, base)
    return base


def _check_languages(adapter: Outgoing, base: Base) -> None:
    """Check that the base is asked for languages as it was when the adapter was made.

    Raises:
        WrongBaseError: Others were said of it here.
    """
    from hub.bases.languages import said_text

    made_for, here = adapter.manifest.base.languages, said_text(base)
    if made_for != here:
        raise WrongBaseError(
            f"{adapter.ref} was made for {made_for!r} as the base's languages, here they are "
            f"{here!r}; export it where --languages says the same",
            field="base",
        )


def _write_base(adapter: Outgoing, stage: Path) -> None:
    """Write the base with the adapter merged in, in float32: a transformers folder."""
    from hub.bases.convert import write_shards

    base = checked_base(adapter)
    tensors = _merged(base, adapter)
    for path in side_files(base.folder):
        shutil.copyfile(path, stage / path.name)
    _name_languages(base, stage)
    config = {key: value for key, value in base.config.items() if key != "torch_dtype"}
    _put_json(stage / "config.json", {**config, "dtype": "float32"})
    _put_json(stage / RECORD, _record(base, adapter))
    (stage / _CARD).write_text(merged_card(adapter.manifest, adapter.ref), encoding="utf-8")
    write_shards(tensors, stage, sum(tensor.nbytes for tensor in tensors.values()))


def _name_languages(base: Base, stage: Path) -> None:
    """Write the pair of a Marian that says it by its own name alone, which the folder has not."""
    from hub.bases.tokenizers.loading import TOKENIZER_CONFIG, marian_pair

    pair = marian_pair(base) if base.family == "marian" else None
    if pair is not None:
        path = stage / TOKENIZER_CONFIG
        settings = _json(path) if path.exists() else {}
        _put_json(path, {**settings, "source_lang": pair[0], "target_lang": pair[1]})


def _record(base: Base, adapter: Outgoing) -> dict[str, Any]:
    """Return base.json: what the folder was made from, and what its base says of itself."""
    from hub.bases.languages import said_languages

    record: dict[str, Any] = {
        "made_from": {
            "base": base.label, "digest": base.digest, "adapter": adapter.ref,
            "adapter_digest": adapter.digest,
        }
    }  # fmt: skip
    if base.licence:
        record["licence"] = base.licence
    languages = base.record.get("languages") or dict(said_languages(base))
    return record | ({"languages": languages} if languages else {})


def _merged(base: Base, adapter: Outgoing) -> dict[str, Tensor]:
    from hub.registry.exchange.merging import merged_tensors

    return merged_tensors(base, adapter.folder)


def _write_ctranslate2(adapter: Outgoing, stage: Path, quantization: str) -> None:
    """Write a CTranslate2 model of the merged base, with the tokenizer's files beside it."""
    from hub.registry.exchange.ctranslate2 import convert, how_to_translate

    base = checked_base(adapter)
    with tempfile.TemporaryDirectory(prefix="merged-", dir=stage.parent) as scratch:
        merged = Path(scratch) / "base"
        merged.mkdir()
        _write_base(adapter, merged)
        convert(merged, base, stage, quantization)
    for path in side_files(base.folder):
        if path.suffix in (".model", ".spm") or path.name.startswith(("tokenizer", "vocab")):
            shutil.copyfile(path, stage / path.name)
    text = how_to_translate(adapter.manifest, base, adapter.ref, quantization)
    (stage / _CARD).write_text(text, encoding="utf-8")


def _put_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    path.write_text(text, encoding="utf-8")


def _json(path: Path) -> Mapping[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise IncompatibleAdapterError(f"{path} is not a JSON object")
    return content
