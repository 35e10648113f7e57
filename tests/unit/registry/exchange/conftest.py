"""A small base with a tokenizer, and adapters for it made and saved by PEFT itself."""

from __future__ import annotations

import copy
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import M2M100Config, M2M100ForConditionalGeneration

from hub.bases import Base, open_base
from hub.languages import LanguagePair
from hub.registry import Registry
from hub.registry.exchange.importing import Imported, import_adapter

PAIR = LanguagePair("en", "ko")
TASK = "SEQ_2_SEQ_LM"


def make_base(folder: Path, seed: int = 11, width: int = 24) -> Base:
    embedded = open_base()
    config = M2M100Config(
        vocab_size=int(embedded.config["vocab_size"]), d_model=width, encoder_layers=2,
        decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=40, encoder_attention_heads=2,
        decoder_attention_heads=2, max_position_embeddings=96, dropout=0.0, init_std=0.3,
    )  # fmt: skip
    torch.manual_seed(seed)
    M2M100ForConditionalGeneration(config).save_pretrained(folder)
    names = ("sentencepiece.bpe.model", "vocab.json", "tokenizer_config.json", "tokenizer.json")
    for name in (*names, "special_tokens_map.json"):
        if (embedded.folder / name).exists():
            shutil.copy(embedded.folder / name, folder / name)
    record = {"name": folder.name, "languages": ["en", "de", "ko"], "licence": "CC-BY-NC-4.0"}
    (folder / "base.json").write_text(json.dumps(record), encoding="utf-8")
    return open_base(str(folder))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield make_base(tmp_path_factory.mktemp("bases") / "tiny-m2m")
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model(base: Base) -> Any:
    return M2M100ForConditionalGeneration.from_pretrained(base.folder).eval()


Make = Callable[..., Path]
Take = Callable[..., Imported]
ENDS = ["q_proj", "v_proj", "fc1"]


def lora(**options: Any) -> LoraConfig:
    return LoraConfig(task_type=TASK, **{"r": 4, "target_modules": ENDS, **options})


@pytest.fixture
def make(model: Any, tmp_path: Path) -> Make:
    """Save an adapter by PEFT, its values moved as training moves them, to a folder."""

    def made(config: PeftConfig, *, by: float = 0.3, name: str = "theirs", **saving: Any) -> Path:
        config.base_model_name_or_path = "someone/tiny-m2m"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(5)
            wrapped = get_peft_model(copy.deepcopy(model), config)
            with torch.no_grad():
                for parameter in wrapped.parameters():
                    if parameter.requires_grad:
                        parameter.add_(torch.randn_like(parameter) * by)
            wrapped.save_pretrained(tmp_path / name, **saving)
        (tmp_path / name / "README.md").unlink(missing_ok=True)
        return tmp_path / name

    return made


@pytest.fixture
def take(registry: Registry, base: Base) -> Callable[..., Imported]:
    """Import a folder into the registry for the small base."""

    def imported(folder: Path | str, **options: Any) -> Imported:
        given = {"base_ref": str(base.folder)} | options
        return import_adapter(registry, str(folder), PAIR, **given)

    return imported


def edit_config(folder: Path, **changes: Any) -> Path:
    path = folder / "adapter_config.json"
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def edit_tensors(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Path:
    path = folder / "adapter_model.safetensors"
    tensors = {
        name: tensor.clone().contiguous() for name, tensor in change(load_file(path)).items()
    }
    save_file(tensors, path)
    return folder
