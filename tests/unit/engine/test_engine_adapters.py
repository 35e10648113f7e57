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
        (
            lambda t: t.update({first_key(t, "lora_A.weight"): torch.tensor(1.0)}),
            r"lora_A.weight' has shape \(\), expected two dimensions",
        ),
        (
            lambda t: t.update({first_key(t, "lora_B.weight"): torch.tensor(1.0)}),
            r"lora_B.weight' has shape \(\), the base needs \(32, 4\)",
        ),
        (
            lambda t: t.update({first_key(t, "lora_A.weight"): torch.ones(0, 32)}),
            r"lora_A.weight' has shape \(0, 32\), expected two dimensions of 1 or more",
        ),
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
        {"bias": "some"},
        {"modules_to_save": ["lm_head"]},
        {"fan_in_fan_out": True},
        {"lora_bias": True},
        {"lora_alpha": "many"},
        {"alpha_pattern": {"(q_proj": 3}},
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
    ("config", "words"),
    [
        ({"alpha_pattern": ["x"]}, r"alpha_pattern is \['x'\], expected a mapping"),
        ({"rank_pattern": "q_proj"}, "rank_pattern is 'q_proj', expected a mapping"),
        ({"alpha_pattern": {"q_proj": None}}, "alpha_pattern holds None for model.*q_proj"),
        ({"lora_alpha": 10**400}, r"lora_alpha holds 10{39} for model.*expected a finite number"),
        ({"lora_alpha": True}, "lora_alpha holds True for model.*expected a finite number"),
        ({"lora_alpha": float("nan")}, "lora_alpha holds nan for model.*expected a finite number"),
        ({"lora_alpha": 1e30}, r"lora_B of model.*_proj, scaled.*e\+(29|30), the limit is 10000"),
        ({"lora_alpha": 1e300}, "lora_B of model.*_proj, scaled.*holds inf, the limit is 10000"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value,
)
def test_lora_options_that_no_float_holds_are_refused(
    lab: Any, model: Any, engine: Engine, config: dict[str, Any], words: str
) -> None:
    folder = altered(lab, lab.lora(model, 1), config=config)
    with pytest.raises(IncompatibleAdapterError, match=words) as caught:
        engine.read_adapter(folder)
    assert type(caught.value) is IncompatibleAdapterError
    assert caught.value.field == next(iter(config))


def test_scaled_weights_have_the_limit_of_a_file(lab: Any, model: Any, engine: Engine) -> None:
    """With every B at 1 and rank 4, lora_alpha 4e4 is the limit of 1e4 exactly."""

    def ones(tensors: dict[str, torch.Tensor]) -> None:
        tensors.update({k: torch.ones_like(v) for k, v in tensors.items() if "lora_B" in k})

    folder = lab.lora(model, 1, rank=4)
    assert engine.read_adapter(altered(lab, folder, ones, {"lora_alpha": 4e4})).nbytes > 0
    with pytest.raises(IncompatibleAdapterError, match="holds 10025, the limit is 10000"):
        engine.read_adapter(altered(lab, folder, ones, {"lora_alpha": 4.01e4}))


def test_what_dora_scales_has_the_limit_of_a_file(lab: Any, model: Any, engine: Engine) -> None:
    """With A at 0 the norms are the base's, near 2; no tensor of the file is over the limit."""

    def grown(tensors: dict[str, torch.Tensor]) -> None:
        for name, values in tensors.items():
            values.fill_(0.0 if "lora_A" in name else 10.0 if "lora_B" in name else 1e4)

    folder = lab.lora(model, 1, use_dora=True)
    assert engine.read_adapter(folder).nbytes > 0
    with pytest.raises(IncompatibleAdapterError, match=r"lora_B at .*DoRA, holds.*10000") as caught:
        engine.read_adapter(altered(lab, folder, grown))
    assert caught.value.field == "use_dora"


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
    assert base.former_digest != base.digest  # what releases up to 0.1 published
    assert engine.read_adapter(folder, manifest(base.former_digest, count)).parameters == count
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
