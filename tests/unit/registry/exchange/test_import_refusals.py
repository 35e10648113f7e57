"""Hostile, damaged and unserved adapters: refused by name, and nothing is published."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peft import (
    AdaLoraConfig,
    IA3Config,
    PeftConfig,
    VeraConfig,
)
from torch import Tensor

from hub.bases import Base
from hub.errors import (
    AdapterBindingError,
    AdapterNotFoundError,
    CorruptBlobError,
    EqualityGateError,
    HubError,
    IncompatibleAdapterError,
    LanguageError,
)
from hub.registry import Registry

from .conftest import ENDS, TASK, Make, Take, edit_config, edit_tensors, lora, make_base


def truncated(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def huge_header(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes((2**40).to_bytes(8, "little") + path.read_bytes()[8:])


def linked(folder: Path) -> None:
    outside = folder.parent / "outside.safetensors"
    (folder / "adapter_model.safetensors").rename(outside)
    (folder / "adapter_model.safetensors").symlink_to(outside)


def piped(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()
    os.mkfifo(folder / "adapter_config.json")


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def with_config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_config(folder, **changes) and None


def with_tensors(change: Callable[[dict[str, Tensor]], Any]) -> Callable[[Path], None]:
    return lambda folder: edit_tensors(folder, lambda t: change(t) or t) and None


def in_folders(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "adapter_config.json").write_text("{}")
    (folder / "adapter_config.json").unlink()


BAD: dict[str, tuple[Callable[[Path], None], type[HubError], str]] = {
    "truncated": (truncated, CorruptBlobError, "cannot be read as safetensors"),
    "huge header": (huge_header, CorruptBlobError, "cannot be read as safetensors"),
    "link out": (linked, CorruptBlobError, "outside of the adapter's folder"),
    "pipe": (piped, CorruptBlobError, "not a regular file"),
    "no config": (without("adapter_config.json"), AdapterNotFoundError, "no PEFT adapter"),
    "no weights": (without("adapter_model.safetensors"), AdapterNotFoundError, "neither"),
    "two": (in_folders, IncompatibleAdapterError, "one, two.*give the folder of one"),
    "config of a list": (
        lambda folder: (folder / "adapter_config.json").write_text("[]") and None,
        CorruptBlobError, "not a JSON object",
    ),
    "deep config": (
        lambda folder: (folder / "adapter_config.json").write_text("[" * 10**5) and None,
        CorruptBlobError, "cannot be read",
    ),
    "huge config": (with_config(revision="x" * 2**20), CorruptBlobError, "over 1,048,576 bytes"),
    "own manifest": (
        lambda folder: (folder / "hub.json").write_text("{}") and None,
        IncompatibleAdapterError, "hub adapters publish",
    ),
    "unknown kind": (with_config(peft_type="BOFT"), IncompatibleAdapterError, "'BOFT'.*ADALORA"),
    "no kind": (with_config(peft_type=None), IncompatibleAdapterError, "kind None"),
    "kind of a list": (with_config(peft_type=["LORA"]), IncompatibleAdapterError, "kind"),
    "plug-in": (with_config(peft_type="BITFIT"), IncompatibleAdapterError, "the hub's own"),
    "NaN": (
        with_tensors(lambda t: t[min(t)].fill_(float("nan")) is None), AdapterBindingError,
        "not finite",
    ),
    "another rank": (with_config(r=3), IncompatibleAdapterError, "has rank 4, r .* says 3"),
    "whole modules": (
        with_config(modules_to_save=["lm_head"]), IncompatibleAdapterError, "modules_to_save"
    ),
    "tokens without rows": (
        with_config(trainable_token_indices=[1, 2]), AdapterBindingError,
        "trainable_tokens_delta.* is missing",
    ),
    "tokens beside a folded start": (
        with_config(trainable_token_indices=[1, 2], init_lora_weights="pissa"),
        IncompatibleAdapterError, "trainable_token_indices",
    ),
    "biases that are not there": (with_config(bias="all"), AdapterBindingError, "bias.*missing"),
    "biases of something": (
        with_config(bias="some"), IncompatibleAdapterError, "bias is 'some', expected none"
    ),
    "LoftQ": (with_config(init_lora_weights="loftq"), IncompatibleAdapterError, "LoftQ"),
    "CorDA": (with_config(init_lora_weights="corda"), IncompatibleAdapterError, "path_initial"),
    "random PiSSA": (
        with_config(init_lora_weights="pissa_niter_4"), IncompatibleAdapterError, "path_initial"
    ),
    "a tensor less": (
        with_tensors(lambda t: t.pop(max(t)) is None), AdapterBindingError, "missing"
    ),
    "a tensor more": (
        with_tensors(lambda t: t.update({"base_model.model.model.x.lora_A.weight": t[min(t)]})),
        AdapterBindingError, r"model\.x\.lora_A",
    ),
    "other targets": (
        with_config(target_modules=["q_proj"]), AdapterBindingError, "leave out"
    ),
    "a module to import": (
        with_config(megatron_config={"a": 1}, megatron_core="antigravity"),
        IncompatibleAdapterError, "megatron_config",
    ),
    "an option of a later PEFT": (
        with_config(use_warp=True), IncompatibleAdapterError, "use_warp"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_refused_by_name_and_nothing_is_published(
    make: Make, take: Take, registry: Registry, kind: str
) -> None:
    spoil, error, words = BAD[kind]
    folder = make(lora())
    spoil(folder)
    with pytest.raises(error, match=words):
        take(folder)
    assert registry.names() == []


@pytest.mark.parametrize(
    ("config", "changes", "field"),
    [
        (VeraConfig(task_type=TASK, r=8, target_modules=ENDS), {"r": 10**9}, "r"),
        (lora(init_lora_weights="pissa"), {"r": 10**9}, "r"),
        (
            AdaLoraConfig(task_type=TASK, init_r=4, total_step=10, target_modules=ENDS),
            {"init_r": 10**9}, "init_r",
        ),
        (
            AdaLoraConfig(task_type=TASK, init_r=4, total_step=10, target_modules=ENDS),
            {"init_r": 5}, "init_r",
        ),
        (
            AdaLoraConfig(task_type=TASK, init_r=4, total_step=10, target_modules=ENDS),
            {"rank_pattern": {"fc1": [True] * 4}}, "rank_pattern",
        ),
        (
            AdaLoraConfig(task_type=TASK, init_r=4, total_step=10, target_modules=ENDS),
            {"bias": "all"}, "bias",
        ),
        (
            VeraConfig(task_type=TASK, r=8, target_modules=ENDS),
            {"modules_to_save": ["lm_head"]}, "modules_to_save",
        ),
        (
            VeraConfig(task_type=TASK, r=8, target_modules=ENDS),
            {"target_modules": r"(\w+\.?)+!"}, "target_modules",
        ),
        (lora(init_lora_weights="olora", bias="lora_only"), {}, "bias"),
        (lora(), {"alpha_pattern": {r"(\w+\.?)+!": 3}}, "alpha_pattern"),
        (
            IA3Config(task_type=TASK, target_modules=["fc1"], feedforward_modules=["fc1"]),
            {"feedforward_modules": r"(\w+\.?)+!"}, "feedforward_modules",
        ),
    ],
)  # fmt: skip
def test_what_would_cost_peft_too_much_is_refused_before(
    make: Make,
    take: Take,
    monkeypatch: pytest.MonkeyPatch,
    config: PeftConfig,
    changes: dict[str, Any],
    field: str,
) -> None:
    monkeypatch.setattr("hub.registry.exchange.costs.SECONDS", 1.0)
    with pytest.raises(IncompatibleAdapterError) as caught:
        take(edit_config(make(config), **changes))
    assert caught.value.field == field


def test_a_file_larger_than_the_base_is_refused(make: Make, take: Take) -> None:
    folder = make(lora())
    with (folder / "adapter_model.safetensors").open("r+b") as stream:
        stream.truncate(200 << 20)
    with pytest.raises(IncompatibleAdapterError, match="more than the whole base"):
        take(folder)


def test_an_adapter_of_another_base_says_which_it_names(
    make: Make, take: Take, tmp_path: Path
) -> None:
    other = make_base(tmp_path / "wider", width=32)
    folder = edit_config(make(lora()), base_model_name_or_path="facebook/nllb-200-distilled-600M")
    with pytest.raises(
        AdapterBindingError, match=r"shape.*names the base 'facebook/nllb.*against 'wider'"
    ):
        take(folder, base_ref=str(other.folder))
    told = take(folder).told  # the right base by another name
    assert any("names the base 'facebook/nllb-200-distilled-600M'" in line for line in told)


def test_a_language_that_the_base_lacks_is_refused(
    make: Make, registry: Registry, base: Base
) -> None:
    from hub.languages import LanguagePair
    from hub.registry.exchange.importing import import_adapter

    with pytest.raises(LanguageError):
        import_adapter(
            registry, str(make(lora())), LanguagePair("en", "fr"), base_ref=str(base.folder)
        )


@pytest.mark.parametrize(
    "ref", ["nowhere", "a/../b", "../x", "a/b/c", "org/na me", "org/x@../y", ""]
)
def test_what_is_neither_a_folder_nor_an_id_is_refused(take: Take, ref: str) -> None:
    with pytest.raises(AdapterNotFoundError, match="neither a folder nor an id"):
        take(ref)


@pytest.mark.parametrize(
    "config",
    [lora(), VeraConfig(task_type=TASK, r=8, target_modules=ENDS), lora(init_lora_weights="pissa")],
    ids=["LoRA", "VeRA", "PiSSA"],
)
def test_an_untrained_adapter_is_refused(make: Make, take: Take, config: PeftConfig) -> None:
    with pytest.raises(IncompatibleAdapterError, match="changes nothing"):
        take(make(config, by=0.0))


def test_a_difference_to_peft_stops_the_import(
    make: Make, take: Take, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the engine's factor off by a tenth, nothing is published."""
    from hub.engine.readers import lora as reader

    own = reader._scaling
    monkeypatch.setattr(reader, "_scaling", lambda *args: own(*args) * 1.1)
    with pytest.raises(EqualityGateError, match=r"line \d, token \d+: PEFT chooses"):
        take(make(lora()))
    assert registry.names() == []
