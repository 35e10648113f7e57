"""A real server on loopback, a real base (tiny, with the embedded tokenizer), real adapters."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from hub.bases import Base, open_base
from hub.client import HubClient
from hub.manifest import AdapterManifest, BaseReference, CorpusReference, OutputRecord
from hub.registry import AdapterVersion, Registry
from hub.settings import Settings, load_settings
from server.application import Application, running

Weights = dict[str, np.ndarray]

D_MODEL, FFN, LAYERS = 32, 64, 2
TOKENIZER_FILES = ("vocab.json", "sentencepiece.bpe.model")


def make_base(folder: Path, seed: int) -> Base:
    """Write a random M2M-100 whose outputs depend on the source."""
    embedded = open_base().folder
    folder.mkdir(parents=True)
    for name in TOKENIZER_FILES:
        shutil.copy(embedded / name, folder / name)
    config = json.loads((embedded / "config.json").read_text())
    config |= {
        "d_model": D_MODEL,
        "encoder_ffn_dim": FFN,
        "decoder_ffn_dim": FFN,
        "encoder_layers": LAYERS,
        "decoder_layers": LAYERS,
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "base.json").write_text(json.dumps({"languages": ["en", "ko", "de", "fr"]}))
    save_file(base_weights(config["vocab_size"], seed), folder / "model.safetensors")
    return open_base(str(folder))


def base_weights(vocabulary: int, seed: int) -> Weights:
    chance = np.random.default_rng(seed)
    weights: Weights = {"model.shared.weight": normal(chance, 0.3, vocabulary, D_MODEL)}

    def linear(name: str, out: int, width: int) -> None:
        weights[f"{name}.weight"] = normal(chance, 0.6, out, width)
        weights[f"{name}.bias"] = normal(chance, 0.3, out)

    def norm(name: str) -> None:
        weights[f"{name}.weight"] = np.ones(D_MODEL, np.float32)
        weights[f"{name}.bias"] = np.zeros(D_MODEL, np.float32)

    for stack, attentions in (
        ("encoder", ("self_attn",)),
        ("decoder", ("self_attn", "encoder_attn")),
    ):
        for layer in range(LAYERS):
            prefix = f"model.{stack}.layers.{layer}"
            for attention in attentions:
                for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    linear(f"{prefix}.{attention}.{part}", D_MODEL, D_MODEL)
                norm(f"{prefix}.{attention}_layer_norm")
            linear(f"{prefix}.fc1", FFN, D_MODEL)
            linear(f"{prefix}.fc2", D_MODEL, FFN)
            norm(f"{prefix}.final_layer_norm")
        norm(f"model.{stack}.layer_norm")
    return weights


def normal(chance: np.random.Generator, scale: float, *shape: int) -> np.ndarray:
    return (scale * chance.standard_normal(shape)).astype(np.float32)


@dataclass
class Publisher:
    """Makes adapters for a base and publishes them."""

    registry: Registry
    base: Base
    scratch: Path
    count: int = field(default=0)
    output: OutputRecord | None = None

    def lora(self, name: str, *, pair: str = "en-ko", seed: int = 1) -> AdapterVersion:
        chance = np.random.default_rng(seed)
        weights: Weights = {}
        for stack in ("encoder", "decoder"):
            for layer in range(LAYERS):
                for part in ("q_proj", "v_proj"):
                    site = f"base_model.model.model.{stack}.layers.{layer}.self_attn.{part}"
                    weights[f"{site}.lora_A.weight"] = normal(chance, 0.5, 4, D_MODEL)
                    weights[f"{site}.lora_B.weight"] = normal(chance, 0.5, D_MODEL, 4)
        config = {
            "peft_type": "LORA",
            "task_type": "SEQ_2_SEQ_LM",
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["self_attn.q_proj", "self_attn.v_proj"],
            "bias": "none",
        }
        return self.publish(name, pair, "lora", 4, config, weights)

    def bottleneck(
        self,
        name: str,
        *,
        pair: str = "en-ko",
        seed: int = 1,
        spoil: Callable[[Weights], None] = lambda weights: None,
        base_digest: str = "",
    ) -> AdapterVersion:
        chance = np.random.default_rng(seed)
        weights: Weights = {}
        for stack in ("encoder", "decoder"):
            for layer in range(LAYERS):
                site = f"base_model.model.model.{stack}.layers.{layer}.bottleneck"
                weights[f"{site}_norm.weight"] = np.ones(D_MODEL, np.float32)
                weights[f"{site}_norm.bias"] = np.zeros(D_MODEL, np.float32)
                weights[f"{site}_down.weight"] = normal(chance, 0.5, 6, D_MODEL)
                weights[f"{site}_down.bias"] = normal(chance, 0.1, 6)
                weights[f"{site}_up.weight"] = normal(chance, 0.5, D_MODEL, 6)
                weights[f"{site}_up.bias"] = normal(chance, 0.1, D_MODEL)
        spoil(weights)
        config = {
            "peft_type": "BOTTLENECK",
            "task_type": "SEQ_2_SEQ_LM",
            "width": 6,
            "activation": "relu",
            "norm": True,
            "placement": "layer",
            "target_modules": [],
        }
        return self.publish(name, pair, "bottleneck", 6, config, weights, base_digest)

    def tokens(
        self, name: str, ids: Sequence[int], *, pair: str = "en-ko", seed: int = 1
    ) -> AdapterVersion:
        """Rows of the token table."""
        rows = normal(np.random.default_rng(seed), 0.4, len(ids), D_MODEL)
        weights = {"base_model.model.model.shared.trainable_tokens_delta": rows}
        config: dict[str, object] = {
            "peft_type": "TRAINABLE_TOKENS",
            "task_type": "SEQ_2_SEQ_LM",
            "token_indices": list(ids),
            "target_modules": None,
        }
        return self.publish(name, pair, "tokens", len(ids), config, weights)

    def publish(
        self,
        name: str,
        pair: str,
        method: str,
        size: int,
        config: dict[str, object],
        weights: Weights,
        base_digest: str = "",
    ) -> AdapterVersion:
        self.count += 1
        folder = self.scratch / f"adapter-{self.count}"
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text(json.dumps(config))
        save_file(weights, folder / "adapter_model.safetensors")
        (folder / "README.md").write_text(f"# {name}\n")
        manifest = AdapterManifest(
            pair=pair,
            method=method,
            size=size,
            budget=None,
            trainable_parameters=sum(tensor.size for tensor in weights.values()),
            base=BaseReference(
                name=self.base.name,
                digest=base_digest or self.base.digest,
                parameters=self.base.parameters,
            ),
            corpus=CorpusReference(
                name="none", fingerprint="none", licence="CC0-1.0", train=0, dev=0, test=0
            ),
            recipe_digest="sha256:" + hashlib.sha256(name.encode()).hexdigest(),
            seed=0,
            output=self.output,
        )
        (folder / "hub.json").write_text(manifest.to_json(), encoding="utf-8")
        return self.registry.publish(folder, name)


@dataclass(frozen=True)
class House:
    """One running server and what belongs to it."""

    application: Application
    client: HubClient
    publisher: Publisher
    settings: Settings

    @property
    def target(self) -> str:
        return self.application.ports.grpc

    def metric(self, name: str, **labels: str) -> float:
        return self.application.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return make_base(tmp_path_factory.mktemp("bases") / "tiny", seed=1)


@pytest.fixture(scope="session")
def open_house(
    tiny_base: Base, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Iterator[House]]:
    """Start a server on free ports; settings may be given by name."""

    def start(**flags: object) -> Iterator[House]:
        folder = tmp_path_factory.mktemp("house")
        settings = load_settings(
            {
                "registry": str(folder / "registry"),
                "base": str(tiny_base.folder),
                "port": 0,
                "metrics_port": 0,
                "drain_seconds": 20,
                "threads": 1,
                "second_try": False,  # whatever a random base translates would be made again
                **flags,
            },
            environ={},
            folder=folder,
        )
        registry = Registry.open(settings.registry)
        with (
            running(settings) as application,
            HubClient(application.ports.grpc, timeout=60) as client,
        ):
            publisher = Publisher(registry, tiny_base, folder / "scratch")
            yield House(application, client, publisher, settings)

    return start


@pytest.fixture(scope="session")
def house(open_house: Callable[..., Iterator[House]]) -> Iterator[House]:
    """The server that most tests share: int8, two slots, so that adapters have to be swapped."""
    yield from open_house(slots=2, max_beam=8, metric_label_values=64, golden_interval=0)
