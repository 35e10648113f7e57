"""Small random models and adapters, made by transformers and PEFT, for the engine to match."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import M2M100ForConditionalGeneration

from hub.bases import Base
from hub.engine.engine import Engine
from hub.engine.requests import DecodeRequest, DecodingOptions, Finished
from hub.engine.testing import random_model

from .kinds import (
    bitfit,
    dora,
    hooked,
    ia3,
    kv_prefix,
    ln_tuning,
    norms,
    peft_warnings_ignored,
    prefix_tuning,
    sublayer_bottleneck,
    tokens,
    with_tokens,
)

BY_PEFT = ("LORA", "IA3", "LN_TUNING", "PREFIX_TUNING", "TRAINABLE_TOKENS")


@dataclass(frozen=True)
class BottleneckShape:
    width: int = 6
    activation: str = "relu"
    norm: bool = True
    layers: tuple[tuple[str, int], ...] | None = None


class Lab:
    """Builds bases, adapters and requests under one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def fresh(self, name: str) -> Path:
        self._count += 1
        path = self._folder / f"{self._count}-{name}"
        path.mkdir()
        return path

    def model(self, seed: int = 0, family: str = "m2m_100", **config: Any) -> Any:
        """A model of a family whose outputs differ from source to source and sometimes end."""
        return random_model(family, seed, config)

    def base(self, model: Any) -> Base:
        folder = self.fresh("base")
        model.save_pretrained(folder)
        return Base(name="random", folder=folder)

    def lora(
        self,
        model: M2M100ForConditionalGeneration,
        seed: int,
        targets: str | Sequence[str] = ("q_proj", "v_proj"),
        rank: int = 4,
        magnitude: float = 0.4,
        **options: Any,
    ) -> Path:
        """A LoRA made and saved by PEFT, with both halves random, and rows of the token table."""
        config = LoraConfig(
            task_type="SEQ_2_SEQ_LM", r=rank, lora_alpha=rank * 2,
            target_modules=targets if isinstance(targets, str) else list(targets), **options,
        )  # fmt: skip
        torch.manual_seed(seed)
        with peft_warnings_ignored():
            wrapped = get_peft_model(copy.deepcopy(model), config)
        with torch.no_grad():
            for name, parameter in wrapped.named_parameters():
                if "lora_" in name:
                    parameter.copy_(torch.randn_like(parameter) * magnitude)
                elif "trainable_tokens" in name:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        folder = self.fresh("lora")
        wrapped.save_pretrained(folder)
        return folder

    def bottleneck(
        self,
        model: M2M100ForConditionalGeneration,
        seed: int,
        shape: BottleneckShape = BottleneckShape(),
        magnitude: float = 0.5,
    ) -> Path:
        generator = torch.Generator().manual_seed(seed)
        d, r = model.config.d_model, shape.width

        def random(*size: int, around: float = 0.0) -> Tensor:
            return torch.randn(*size, generator=generator) * magnitude + around

        tensors: dict[str, Tensor] = {}
        for stack, layer in shape.layers or _all_layers(model):
            path = f"base_model.model.model.{stack}.layers.{layer}.bottleneck"
            tensors |= {
                f"{path}_down.weight": random(r, d), f"{path}_down.bias": random(r),
                f"{path}_up.weight": random(d, r), f"{path}_up.bias": random(d),
            }  # fmt: skip
            if shape.norm:
                tensors[f"{path}_norm.weight"] = random(d, around=1.0)
                tensors[f"{path}_norm.bias"] = random(d)
        config = {
            "peft_type": "BOTTLENECK", "task_type": "SEQ_2_SEQ_LM", "width": r,
            "activation": shape.activation, "norm": shape.norm, "placement": "layer",
            "target_modules": ["layers"], "base_model_name_or_path": "random",
        }  # fmt: skip
        return self.write(config, tensors)

    def write(self, config: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
        folder = self.fresh("adapter")
        (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            folder / "adapter_model.safetensors",
        )
        return folder

    @contextmanager
    def applied(self, model: M2M100ForConditionalGeneration, folder: Path | None) -> Iterator[Any]:
        """The model with an adapter, computed by PEFT or by hooks, outside the engine."""
        if folder is None:
            yield model
            return
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        if config["peft_type"] in BY_PEFT:
            with peft_warnings_ignored():
                wrapped = PeftModel.from_pretrained(copy.deepcopy(model), folder).eval()
            yield wrapped
            return
        with hooked(model, config, load_file(folder / "adapter_model.safetensors")) as adapted:
            yield adapted

    def sources(self, count: int, seed: int, longest: int = 40) -> list[tuple[int, ...]]:
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.randint(1, longest + 1, (count,), generator=generator).tolist()
        return [
            tuple(torch.randint(4, 120, (length,), generator=generator).tolist())
            for length in lengths
        ]

    def requests(
        self,
        count: int,
        seed: int,
        options: DecodingOptions,
        slots: Sequence[int] = (0,),
        forced_bos: bool = True,
    ) -> list[DecodeRequest]:
        """Requests, slots taken in turn; `forced_bos` gives each a language token."""
        return [
            DecodeRequest(
                key,
                source,
                (5 + key % 7,) if forced_bos else (),
                slots[key % len(slots)],
                options,
            )
            for key, source in enumerate(self.sources(count, seed))
        ]

    def forced(
        self, count: int, seed: int, slots: Sequence[int] = (0,), longest: int = 40
    ) -> list[DecodeRequest]:
        """Requests whose whole target is given: for comparing logits."""
        sources = self.sources(count, seed, longest)
        targets = self.sources(count, seed + 1000, 12)
        options = DecodingOptions(max_new_tokens=1)
        return [
            DecodeRequest(key, source, target, slots[key % len(slots)], options)
            for key, (source, target) in enumerate(zip(sources, targets, strict=True))
        ]

    def reference_logits(self, model: Any, request: DecodeRequest) -> Tensor:
        with torch.no_grad():
            return model(
                input_ids=torch.tensor([request.source_ids]),
                decoder_input_ids=torch.tensor([[start_id(model), *request.prefix_ids]]),
            ).logits[0]

    def reference_output(
        self, model: Any, request: DecodeRequest
    ) -> list[tuple[tuple[int, ...], float | None]]:
        """What generate finds: tokens without specials, and scores where it has them."""
        options, prefix = request.options, request.prefix_ids
        beams = options.beam_size > 1
        extra = len(prefix)
        with torch.no_grad():
            found = model.generate(
                input_ids=torch.tensor([request.source_ids]),
                forced_bos_token_id=prefix[0] if prefix else None,
                num_beams=options.beam_size,
                max_new_tokens=options.max_new_tokens + extra,
                min_new_tokens=options.min_new_tokens + extra if options.min_new_tokens else None,
                length_penalty=options.length_penalty if beams else None,
                num_return_sequences=options.num_hypotheses,
                early_stopping=False if beams else None,
                do_sample=False,
                return_dict_in_generate=True,
                output_scores=True,
                **_rules(options, model),
            )
        scores = found.sequences_scores.tolist() if beams else [None]
        tokens = [_strip(row[1 + extra :], model) for row in found.sequences.tolist()]
        return list(zip(tokens, scores, strict=True))

    def engine(self, base: Base, quantization: str = "float32", **options: Any) -> Engine:
        settings: dict[str, Any] = {"slots": 32, "max_rows": 64} | options
        return Engine.load(base, quantization=quantization, **settings)

    def alone(self, engine: Engine, requests: Sequence[DecodeRequest]) -> list[Finished]:
        return [engine.translate([request])[0] for request in requests]


def start_id(model: Any) -> int:
    """The decoder's first token, also of a model that PEFT wraps."""
    return int(model.generation_config.decoder_start_token_id)


def _rules(options: DecodingOptions, model: Any) -> dict[str, Any]:
    """Options that a request sets in place of the base's, under transformers' names."""
    rules: dict[str, Any] = {}
    if options.no_repeat_ngram_size is not None:
        rules["no_repeat_ngram_size"] = options.no_repeat_ngram_size
    if options.repetition_penalty is not None:
        rules["repetition_penalty"] = options.repetition_penalty
    if options.bad_words is not None:
        rules["bad_words_ids"] = [[word] for word in options.bad_words] or None
    if options.forced_eos is not None:
        eos = model.generation_config.eos_token_id
        rules["forced_eos_token_id"] = eos if options.forced_eos else None
    return rules


def _strip(row: Sequence[int], model: Any) -> tuple[int, ...]:
    end = model.generation_config.eos_token_id
    return tuple(row[: row.index(end)] if end in row else row)


def _all_layers(model: M2M100ForConditionalGeneration) -> list[tuple[str, int]]:
    config = model.config
    return [("encoder", i) for i in range(config.encoder_layers)] + [
        ("decoder", i) for i in range(config.decoder_layers)
    ]


@dataclass(frozen=True)
class Zoo:
    """One base with adapters of every kind served, placed in slots 1 to n of any engine."""

    model: M2M100ForConditionalGeneration
    base: Base
    folders: tuple[Path, ...]

    def engine(self, lab: Lab, quantization: str, **options: Any) -> Engine:
        engine = lab.engine(self.base, quantization, **options)
        for slot, folder in enumerate(self.folders, start=1):
            engine.place(slot, engine.read_adapter(folder))
        return engine

    @property
    def slots(self) -> tuple[int, ...]:
        return tuple(range(len(self.folders) + 1))

    @property
    def gathered(self) -> tuple[int, ...]:
        """Slots whose adapters hold no vectors or token rows: their rows decode in fixed shapes."""
        return tuple(slot for slot in self.slots if not 8 <= slot <= 13 and slot < 20)

    def folder(self, slot: int) -> Path | None:
        return self.folders[slot - 1] if slot else None


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Lab(tmp_path_factory.mktemp("engine"))
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model(lab: Lab) -> M2M100ForConditionalGeneration:
    return lab.model()


@pytest.fixture(scope="session")
def base(lab: Lab, model: M2M100ForConditionalGeneration) -> Base:
    return lab.base(model)


@pytest.fixture(scope="session")
def zoo(lab: Lab, model: M2M100ForConditionalGeneration, base: Base) -> Zoo:
    everything = r".*(encoder|decoder)\.layers.*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
    shape = BottleneckShape()
    return Zoo(
        model,
        base,
        (
            lab.bottleneck(model, 1),
            lab.lora(model, 2),
            lab.bottleneck(model, 3, replace(shape, width=11, activation="gelu", norm=False)),
            lab.lora(model, 4, targets=everything, rank=3, magnitude=0.25),
            # Larger weights sharpen attention until float32 is 1e-4 away from float64, whoever
            # computes it.
            lab.lora(model, 5, rank=9, use_rslora=True, magnitude=0.15),
            lab.bottleneck(model, 6, replace(shape, layers=(("decoder", 1), ("encoder", 0)))),
            lab.bottleneck(model, 7),
            dora(lab, model, 8),
            ia3(lab, model, 9, ["k_proj", "v_proj", "q_proj", "fc2"], ["fc2"]),
            bitfit(lab, model, 10),
            norms(lab, model, 11, "both"),
            norms(lab, model, 12, "weight", pattern=r".*decoder.*"),
            ln_tuning(lab, model, 13, r".*(attn_layer_norm|final_layer_norm|coder\.layer_norm)"),
            sublayer_bottleneck(lab, model, 14, width=5, activation="relu", norm=True),
            sublayer_bottleneck(
                lab,
                model,
                15,
                width=9,
                activation="gelu",
                norm=False,
                pattern=r".*decoder\.layers\.1\.(encoder_attn|fc2)",
            ),
            kv_prefix(lab, model, 16, 5, ("encoder_self", "decoder_self", "cross")),
            kv_prefix(lab, model, 17, 19, ("decoder_self", "cross")),
            kv_prefix(lab, model, 18, 3, ("encoder_self",)),
            prefix_tuning(lab, model, 19, 7),
            tokens(lab, model, 20, (71, 2, 9, 40, 100, 12)),
            with_tokens(lab, lab.lora(model, 21), 21, range(5, 60), 32),
            with_tokens(
                lab, lab.bottleneck(model, 22, magnitude=0.3), 22, (9, 5, 7, 88, 119, 30, 0), 32
            ),
        ),
    )
