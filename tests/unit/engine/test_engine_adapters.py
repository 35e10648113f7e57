"""An adapter acts or is refused: every tensor binds, or the tensor is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hub.engine.engine import Engine
from hub.errors import (
    AdapterBindingError,
    CorruptBlobError,
    IncompatibleAdapterError,
    WrongBaseError,
)
from hub.manifest import AdapterManifest, BaseReference, CorpusReference

LAYER = "base_model.model.model.decoder.layers.0"


@pytest.fixture(scope="module")
def engine(lab: Any, base: Any) -> Engine:
    return lab.engine(base)


def altered(
    lab: Any,
    folder: Path,
    tensors: Callable[[dict[str, torch.Tensor]], object] | None = None,
    config: dict[str, Any] | None = None,
) -> Path:
    """A copy of an adapter folder with something wrong in it."""
    own = load_file(folder / "adapter_model.safetensors")
    if tensors is not None:
        tensors(own)
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    path: Path = lab.write(settings | (config or {}), own)
    return path


def first_key(tensors: dict[str, torch.Tensor], ending: str) -> str:
    return min(name for name in tensors if name.endswith(ending))


def test_every_byte_is_counted(lab: Any, model: Any, engine: Engine) -> None:
    d, layers = 32, 3
    lora = engine.read_adapter(lab.lora(model, 1, targets=r".*decoder.*self_attn\.q_proj", rank=5))
    assert (lora.kind, lora.parameters) == ("lora", layers * 2 * 5 * d)
    assert lora.nbytes == 4 * layers * 2 * 8 * d  # ranks are rounded up to a multiple of 8
    before = engine.adapter_bytes
    engine.place(1, lora)
    assert engine.adapter_bytes - before == lora.nbytes
    engine.clear(1)
    assert engine.adapter_bytes == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: t.update({f"{LAYER}.self_attn.z_proj.lora_A.weight": torch.ones(4, 32)}),
            "z_proj",
        ),
        (lambda t: t.update({f"{LAYER}.self_attn.q_proj.lora_C": torch.ones(4)}), "lora_C"),
        (lambda t: t.update({"lora_A.weight": torch.ones(4, 32)}), "lora_A.weight"),
        (lambda t: t.pop(first_key(t, "lora_B.weight")), "lora_B.weight.*missing"),
        (lambda t: t.update({first_key(t, "lora_A.weight"): torch.ones(4, 31)}), "lora_A.*31"),
        (lambda t: t.update({first_key(t, "lora_B.weight"): torch.ones(32, 5)}), "lora_B.*32, 5"),
        (lambda t: t[first_key(t, "lora_B.weight")].fill_(float("nan")), "not finite"),
        (lambda t: t[first_key(t, "lora_B.weight")].fill_(float("inf")), "not finite"),
        (lambda t: t[first_key(t, "lora_B.weight")].fill_(2e4), "20000.*limit"),
        (lambda t: t.update({first_key(t, "lora_A.weight"): torch.ones(4, 32).int()}), "int32"),
        (lambda t: t.clear(), "no tensors"),
    ],
)
def test_unsound_lora_is_refused(
    lab: Any, model: Any, engine: Engine, change: Callable[..., object], words: str
) -> None:
    folder = altered(lab, lab.lora(model, 1), tensors=change)
    with pytest.raises(AdapterBindingError, match=words):
        engine.read_adapter(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.update({f"{LAYER}.bottleneck_gate.weight": torch.ones(4)}), "bottleneck_gate"),
        (lambda t: t.pop(first_key(t, "bottleneck_up.bias")), "up.bias.*missing"),
        (lambda t: t.pop(first_key(t, "bottleneck_norm.bias")), "norm.bias.*missing"),
        (
            lambda t: t.update({first_key(t, "down.weight"): torch.ones(5, 32)}),
            r"\(5, 32\).*\(6, 32\)",
        ),
        (lambda t: t[first_key(t, "bottleneck_down.bias")].fill_(float("nan")), "not finite"),
    ],
)
def test_unsound_bottleneck_is_refused(
    lab: Any, model: Any, engine: Engine, change: Callable[..., object], words: str
) -> None:
    folder = altered(lab, lab.bottleneck(model, 1), tensors=change)
    with pytest.raises(AdapterBindingError, match=words):
        engine.read_adapter(folder)


def test_a_norm_that_the_config_denies_is_refused(lab: Any, model: Any, engine: Engine) -> None:
    folder = altered(lab, lab.bottleneck(model, 1), config={"norm": False})
    with pytest.raises(AdapterBindingError, match="bottleneck_norm"):
        engine.read_adapter(folder)


@pytest.mark.parametrize(
    "config",
    [
        {"bias": "all"},
        {"bias": "lora_only"},
        {"modules_to_save": ["lm_head"]},
        {"fan_in_fan_out": True},
        {"lora_bias": True},
        {"lora_alpha": "many"},
        {"alpha_pattern": {".*q_proj": 3}},
        {"peft_type": "P_TUNING"},
        {"peft_type": "CROSS_ATTENTION"},
        {"peft_type": None},
    ],
    ids=str,
)
def test_unserved_lora_options_are_refused_by_name(
    lab: Any, model: Any, engine: Engine, config: dict[str, Any]
) -> None:
    folder = altered(lab, lab.lora(model, 1), config=config)
    with pytest.raises(IncompatibleAdapterError) as caught:
        engine.read_adapter(folder)
    assert caught.value.field == next(iter(config))


@pytest.mark.parametrize(
    "config",
    [
        {"width": 0},
        {"width": "6"},
        {"activation": "silu"},
        {"placement": "parallel"},
        {"norm": None},
    ],
    ids=str,
)
def test_unserved_bottleneck_options_are_refused_by_name(
    lab: Any, model: Any, engine: Engine, config: dict[str, Any]
) -> None:
    folder = altered(lab, lab.bottleneck(model, 1), config=config)
    with pytest.raises(IncompatibleAdapterError) as caught:
        engine.read_adapter(folder)
    assert caught.value.field == next(iter(config))


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"\x00" * 100, b"[]"])
def test_unreadable_files_are_corrupt(
    lab: Any, model: Any, engine: Engine, name: str, content: bytes | None
) -> None:
    folder = lab.bottleneck(model, 1)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(CorruptBlobError, match=name):
        engine.read_adapter(folder)


def manifest(digest: str, parameters: int) -> AdapterManifest:
    return AdapterManifest(
        pair="en-ko", method="lora", size=4, budget=None, trainable_parameters=parameters,
        base=BaseReference(name="random", digest=digest, parameters=1000),
        corpus=CorpusReference(
            name="cldr", fingerprint="x", licence="none", train=1, dev=1, test=1
        ),
        recipe_digest="sha256:" + "0" * 64, seed=1,
    )  # fmt: skip


def test_the_manifest_must_agree(lab: Any, model: Any, base: Any, engine: Engine) -> None:
    folder = lab.lora(model, 1, targets=("q_proj",), rank=4)
    count = 8 * 2 * 4 * 32
    assert engine.read_adapter(folder, manifest(base.digest, count)).parameters == count
    with pytest.raises(AdapterBindingError, match=r"2,048.*2,049"):
        engine.read_adapter(folder, manifest(base.digest, count + 1))
    with pytest.raises(WrongBaseError, match="random"):
        engine.read_adapter(folder, manifest("sha256:" + "1" * 64, count))


def test_half_precision_files_are_read(lab: Any, model: Any, engine: Engine) -> None:
    folder = lab.bottleneck(model, 1)
    path = folder / "adapter_model.safetensors"
    for dtype in (torch.float16, torch.bfloat16):
        save_file({name: tensor.to(dtype) for name, tensor in load_file(path).items()}, path)
        assert engine.read_adapter(folder).nbytes > 0
