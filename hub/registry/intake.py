"""Take in an adapter folder from outside: copy, hash, then judge the copy.

What is judged is what is stored: nothing is read twice from the source, so a
folder that changes underfoot cannot smuggle other bytes in.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safetensors import SafetensorError, safe_open

from hub.errors import CorruptBlobError, IncompatibleAdapterError, InputError
from hub.golden import GOLDEN_FILE, GoldenLines
from hub.manifest import MANIFEST_FILE, AdapterManifest
from hub.registry.blobs import (
    ALLOWED_FILES,
    CONFIG_FILE,
    REQUIRED_FILES,
    WEIGHTS_FILE,
    digest_of_files,
)
from hub.registry.disk import StagedFile, open_regular, stage
from hub.vocabulary import VOCABULARY_FILE, parse_vocabulary

MAX_TEXT_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class StagedAdapter:
    """A judged copy of an adapter folder, not yet published."""

    manifest: AdapterManifest
    files: Mapping[str, StagedFile]

    @property
    def digest(self) -> str:
        """Return the adapter's digest."""
        return digest_of_files({name: file.sha256 for name, file in self.files.items()})


def take_in(source: Path, into: Path, manifest: AdapterManifest | None) -> StagedAdapter:
    """Copy an adapter folder and judge the copy.

    Args:
        source: The folder to publish.
        into: An empty staging folder.
        manifest: Written as hub.json where the source has none; must equal it otherwise.

    Raises:
        InputError: The source is not a folder that can be read.
        IncompatibleAdapterError: A file is missing, not allowed or malformed.
    """
    names = _listed(source)
    files = {name: _copied(source, name, into / name) for name in sorted(names)}
    if MANIFEST_FILE not in files and manifest is not None:
        text = io.BytesIO(manifest.to_json().encode())
        files[MANIFEST_FILE] = stage(text, into / MANIFEST_FILE)
    _require_all(files, source)
    _check_config(files[CONFIG_FILE])
    _check_weights(files[WEIGHTS_FILE])
    if VOCABULARY_FILE in files:
        _check_vocabulary(files[VOCABULARY_FILE])
    judged = _read_manifest(files[MANIFEST_FILE], manifest)
    if GOLDEN_FILE in files:
        _check_golden(files[GOLDEN_FILE], judged)
    return StagedAdapter(judged, files)


def _listed(source: Path) -> list[str]:
    try:
        names = os.listdir(source)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read an adapter folder at {source}: {_why(error)}", field="folder"
        ) from None
    for name in sorted(names):
        if name not in ALLOWED_FILES:
            if MANIFEST_FILE not in names:
                raise IncompatibleAdapterError(
                    f"{source} lacks {MANIFEST_FILE} and holds {name}, nothing published; take in "
                    "an adapter from elsewhere with `hub adapters import`",
                    field=name,
                )
            raise IncompatibleAdapterError(
                f"{source / name} has no place in an adapter folder, nothing published; only "
                f"{_spelled(ALLOWED_FILES)} are allowed, remove it and publish again",
                field=name,
            )
    return names


def _copied(source: Path, name: str, target: Path) -> StagedFile:
    try:
        file = open_regular(source / name)
    except OSError as error:
        raise _unreadable(source / name, _why(error)) from None
    with file:
        size = os.fstat(file.fileno()).st_size
        if name != WEIGHTS_FILE and size > MAX_TEXT_BYTES:
            raise IncompatibleAdapterError(
                f"{source / name} has {size} bytes, the limit is {MAX_TEXT_BYTES}; "
                "nothing published",
                field=name,
            )
        return stage(file, target)


def _unreadable(path: Path, why: str) -> IncompatibleAdapterError:
    return IncompatibleAdapterError(
        f"cannot take in {path} ({why}), nothing published; links and special files are not "
        "followed, put the file itself there",
        field=path.name,
    )


def _require_all(files: Mapping[str, StagedFile], source: Path) -> None:
    missing = REQUIRED_FILES - files.keys()
    if missing == {MANIFEST_FILE}:
        raise IncompatibleAdapterError(
            f"{source} lacks {MANIFEST_FILE}, nothing published; take in an adapter from elsewhere "
            "with `hub adapters import`",
            field=MANIFEST_FILE,
        )
    if missing:
        raise IncompatibleAdapterError(
            f"{source} lacks {_spelled(missing)}, nothing published; an adapter folder holds "
            f"{_spelled(REQUIRED_FILES)} and may hold {_spelled(ALLOWED_FILES - REQUIRED_FILES)}",
            field=min(missing),
        )


def _check_config(file: StagedFile) -> None:
    try:
        config = json.loads(file.path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _malformed(CONFIG_FILE, f"not JSON: {error}") from None
    if not isinstance(config, dict):
        raise _malformed(CONFIG_FILE, f"a JSON object is wanted, not {type(config).__name__}")


def _check_weights(file: StagedFile) -> None:
    """Parse the header: lengths, offsets inside the file, no holes, no overlaps."""
    try:
        with safe_open(file.path, framework="numpy") as weights:
            names = list(weights.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise _malformed(WEIGHTS_FILE, str(error)) from None
    if not names:
        raise _malformed(WEIGHTS_FILE, "it holds no tensor")


def _check_vocabulary(file: StagedFile) -> None:
    try:
        parse_vocabulary(file.path.read_bytes())
    except CorruptBlobError as error:
        raise IncompatibleAdapterError(
            f"nothing published: {error.message}", field=VOCABULARY_FILE
        ) from None


def _read_manifest(file: StagedFile, wanted: AdapterManifest | None) -> AdapterManifest:
    text = file.path.read_bytes()
    try:
        manifest = AdapterManifest.from_json(text)
    except CorruptBlobError as error:
        raise IncompatibleAdapterError(
            f"nothing published: {error.message}", field=MANIFEST_FILE
        ) from None
    if wanted is not None and wanted != manifest:
        raise IncompatibleAdapterError(
            f"{MANIFEST_FILE} in the folder is not the manifest that was given, nothing "
            "published; remove one of the two",
            field=MANIFEST_FILE,
        )
    return manifest


def _check_golden(file: StagedFile, manifest: AdapterManifest) -> None:
    try:
        golden = GoldenLines.from_json(file.path.read_bytes())
    except CorruptBlobError as error:
        raise IncompatibleAdapterError(
            f"nothing published: {error.message}", field=GOLDEN_FILE
        ) from None
    if golden.pair != manifest.pair:
        raise IncompatibleAdapterError(
            f"{GOLDEN_FILE} has lines of {golden.pair}, the adapter translates {manifest.pair}, "
            "nothing published; remove the file and publish again",
            field=GOLDEN_FILE,
        )


def _malformed(name: str, why: str) -> IncompatibleAdapterError:
    return IncompatibleAdapterError(
        f"{name} is malformed ({why}), nothing published; save the adapter again", field=name
    )


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _spelled(names: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(names))
