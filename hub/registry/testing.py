"""Tiny adapter folders for tests of whatever reads, publishes or lends them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from hub.manifest import (
    MANIFEST_FILE,
    AdapterManifest,
    BaseReference,
    CorpusReference,
    ScoreRecord,
)
from hub.registry.blobs import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE

BASE_DIGEST: Final = "sha256:" + "b" * 64
_PARAMETERS: Final = 16


def example_manifest(
    *, seed: int = 0, pair: str = "en-ko", method: str = "lora", base_digest: str = BASE_DIGEST
) -> AdapterManifest:
    """Return a manifest that is valid and different for every seed."""
    return AdapterManifest(
        pair=pair,
        method=method,
        size=4,
        budget=0.01,
        trainable_parameters=_PARAMETERS,
        base=BaseReference(name="tiny", digest=base_digest, parameters=100 * _PARAMETERS),
        corpus=CorpusReference(
            name="cldr", fingerprint="f" * 16, licence="Unicode-3.0", train=8, dev=2, test=2
        ),
        recipe_digest="sha256:" + "c" * 64,
        seed=seed,
        scores=(
            ScoreRecord(metric="chrf++", system="base", value=20.5, signature="s", items=2),
            ScoreRecord(metric="chrf++", system="adapter", value=61.25, signature="s", items=2),
        ),
    )


def write_adapter_folder(folder: Path, manifest: AdapterManifest | None = None) -> Path:
    """Write an adapter of one 4 × 4 tensor that holds the manifest's seed.

    It binds to no base: for the registry, an adapter is files and a manifest.
    """
    import numpy
    from safetensors.numpy import save_file

    manifest = manifest or example_manifest()
    folder.mkdir(parents=True)
    weights = {"layer.weight": numpy.full((4, 4), manifest.seed, dtype=numpy.float32)}
    save_file(weights, folder / WEIGHTS_FILE)
    config = {"peft_type": manifest.method.upper(), "r": manifest.size}
    (folder / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
    (folder / CARD_FILE).write_text(f"# {manifest.pair}\n", encoding="utf-8")
    (folder / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    return folder
