"""A random M2M-100 so small that a run takes a second, with the embedded base's tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hub.bases import Base, open_base
from hub.bases.tokenizer import BaseTokenizer, load_tokenizer
from training.loop.batching import Example
from training.methods.catalog import METHODS
from training.recipe import Recipe

TOKENIZER_FILES = ("vocab.json", "sentencepiece.bpe.model", "tokenizer_config.json")


@pytest.fixture(autouse=True)
def gate_at_hand(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer the equality gate's request from its files in this process: a new one takes seconds.

    Tests marked `fresh_process` start it for real.
    """

    from training.gates import fresh_process

    def answer(python: str, asked: Path, told: Path, seconds: float, check: Any) -> None:
        monkeypatch.setattr("sys.argv", ["gate", str(asked), str(told)])
        fresh_process.main()

    if "fresh_process" not in request.keywords:
        monkeypatch.setattr(fresh_process, "_run", answer)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A base of a few hundred thousand random parameters; it has English, German and Korean."""
    return make_base(tmp_path_factory.mktemp("bases") / "tiny", width=24, inner=(32, 40))


@pytest.fixture(scope="session")
def wide_base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """The same with widths that are multiples of 64, as nf4 wants them."""
    return make_base(tmp_path_factory.mktemp("bases") / "wide", width=64, inner=(64, 128))


def make_base(folder: Path, *, width: int, inner: tuple[int, int]) -> Base:
    """Write a random base of two layers; `inner` are its feed-forwards' widths."""
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    embedded = open_base()
    config = M2M100Config(
        vocab_size=int(embedded.config["vocab_size"]),
        d_model=width,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=inner[0],
        decoder_ffn_dim=inner[1],
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        max_position_embeddings=96,
        dropout=0.0,
        attention_dropout=0.0,
        init_std=0.3,
    )
    torch.manual_seed(11)
    M2M100ForConditionalGeneration(config).save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copy(embedded.folder / name, folder / name)
    record = {"name": folder.name, "languages": ["en", "de", "ko"]}
    (folder / "base.json").write_text(json.dumps(record))
    return open_base(str(folder))


@pytest.fixture(scope="session")
def tokenizer(tiny_base: Base) -> BaseTokenizer:
    return load_tokenizer(tiny_base)


def encode_lines(tokenizer: BaseTokenizer, lines: Sequence[tuple[str, str]]) -> list[Example]:
    """Encode English lines with their German, numbered from 0."""
    return [
        Example(
            tuple(tokenizer.encode_source(source, "en")),
            tuple(tokenizer.encode_target(target, "de")),
            number,
        )
        for number, (source, target) in enumerate(lines)
    ]


@pytest.fixture
def make_recipe(tiny_base: Base) -> Callable[..., Recipe]:
    """Return a maker of quick recipes; any field can be set."""

    def make(**changes: Any) -> Recipe:
        method = str(changes.get("method", "bottleneck"))
        plain: dict[str, Any] = {
            "pair": "en-de",
            "method": method,
            "options": METHODS[method].options,
            "size": 4,
            "budget": None,
            "base": "tiny",
            "base_digest": tiny_base.digest,
            "corpus": "cldr",
            "train": 64,
            "dev": 8,
            "test": 8,
            "seed": 1,
            "learning_rate": 0.01,
            "schedule": "constant",
            "warmup": 2,
            "label_smoothing": 0.1,
            "weight_decay": 0.0,
            "dropout": 0.1,
            "clip": 1.0,
            "tokens_per_batch": 200,
            "max_updates": 8,
            "evaluate_every": 4,
            "dev_lines": 4,
            "patience": 5,
            "precision": "float32",
        }
        return Recipe(**(plain | changes))

    return make
