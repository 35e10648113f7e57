"""From a recipe to a base folder that transformers and the hub can open, with its scores."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hub.bases import open_base
from hub.bases.tokenizer import load_tokenizer
from hub.console import progress
from hub.errors import InterruptedRunError, SettingsError, StorageFullError
from training.evidence.decode import Decoder, score_system
from training.loop.model import quiet_libraries
from training.pretrain.loop import BaseTrainer, Progress, log_to
from training.pretrain.recipe import BaseRecipe
from training.pretrain.texts import TrainingText
from training.pretrain.vocabulary import build_vocabulary, open_vocabulary

CLDR_LICENCE = "Apache-2.0 (weights); Unicode-3.0 (the CLDR data they were trained on)"
_VERSIONS = ("torch", "transformers", "sentencepiece", "Babel")
_RECORDED_FILES = (
    "config.json",
    "model.safetensors",
    "sentencepiece.bpe.model",
    "vocab.json",
)


def build_base(
    recipe: BaseRecipe, text: TrainingText, folder: Path, licence: str = CLDR_LICENCE
) -> None:
    """Build a base in a folder, or go on with one that was interrupted there.

    The weights are written in float16, the optimiser's state beside them until the base is done.

    Args:
        recipe: What to build.
        text: What the recipe's data is.
        folder: Where.
        licence: Of the weights, for the record.

    Raises:
        InterruptedRunError: Ctrl-C; the folder holds a checkpoint to go on from.
        SettingsError: The folder cannot be written, or holds another base.
        StorageFullError: The disk is full.
    """
    with _readable_errors(folder):
        if not _already_built(recipe, folder):
            folder.mkdir(parents=True, exist_ok=True)
            _build(recipe, text, folder, licence)


def _build(recipe: BaseRecipe, text: TrainingText, folder: Path, licence: str) -> None:
    if not (folder / "tokenizer_config.json").is_file():
        build_vocabulary(recipe, text, folder)
    trainer = BaseTrainer(recipe, text, folder, open_vocabulary(recipe, folder))
    if not trainer.update:
        trainer.save_checkpoint()  # it names the recipe: another's vocabulary is never gone on with
    _train(trainer, recipe, folder)
    export(trainer, recipe, folder, licence)
    record_scores(folder, text)
    trainer.discard_checkpoint()


@contextmanager
def _readable_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(
                f"no room left to write {where}; free some space and run the same command again"
            ) from error
        raise SettingsError(
            f"{where}: {error.strerror}; choose another folder to build in", field="folder"
        ) from error


def _already_built(recipe: BaseRecipe, folder: Path) -> bool:
    """Return whether the folder holds this recipe's base.

    Raises:
        SettingsError: It holds another one.
    """
    if not (folder / "base.json").is_file():
        return False
    try:
        record = dict(json.loads((folder / "base.json").read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise SettingsError(
            f"{folder}/base.json is damaged; remove the folder or choose another", field="folder"
        ) from None
    if record.get("recipe_digest") != recipe.digest:
        raise SettingsError(
            f"{folder} holds the base of recipe {record.get('recipe_digest')}, not of "
            f"{recipe.digest}; choose another folder",
            field="folder",
        )
    return bool(record.get("scores"))


def export(
    trainer: BaseTrainer, recipe: BaseRecipe, folder: Path, licence: str = CLDR_LICENCE
) -> None:
    """Write config, float16 weights and base.json, the record of how they were made."""
    with quiet_libraries():
        model = nn.Module.to(trainer.master_model(), dtype=torch.float16)
        model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    _write_record(
        folder,
        {
            "format": 1,
            "languages": list(recipe.languages),
            "licence": licence,
            "recipe": recipe.facts(),
            "recipe_digest": recipe.digest,
            "versions": {name: version(name) for name in _VERSIONS},
            "files": {name: _sha256(folder / name) for name in _RECORDED_FILES},
            "scores": [],
        },
    )


def record_scores(folder: Path, text: TrainingText) -> None:
    """Score a built base on what it has not seen, with the serving engine, into base.json."""
    base = open_base(str(folder))
    tokenizer = load_tokenizer(base)
    decoder = Decoder(base, tokenizer, "int8")
    scores: list[dict[str, Any]] = []
    for pair, segments in text.held_out():
        found = score_system(decoder, pair, segments, "base")
        scores.extend({"pair": str(pair), **score.model_dump(mode="json")} for score in found)
    record = json.loads((folder / "base.json").read_text(encoding="utf-8"))
    _write_record(folder, record | {"scores": scores})


def _train(trainer: BaseTrainer, recipe: BaseRecipe, folder: Path) -> None:
    log = log_to(folder / "log.jsonl")
    with progress(f"building base {recipe.digest}", recipe.updates) as bar:

        def report(step: Progress) -> None:
            log(step)
            bar.update(step.update, f"loss {step.loss:.3f}, {step.tokens_per_second:,.0f} tokens/s")

        try:
            trainer.run(report)
        except KeyboardInterrupt:
            raise InterruptedRunError(
                f"interrupted at update {trainer.update} of {recipe.updates}; the same command "
                f"goes on from the checkpoint in {folder}"
            ) from None


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    text = json.dumps(record, indent=1, ensure_ascii=False)
    (folder / "base.json").write_text(text + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
