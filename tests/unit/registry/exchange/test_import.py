"""Adapters from elsewhere: what PEFT computes is what is published, or it is refused by name."""

from __future__ import annotations

import copy
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    AdaLoraConfig,
    IA3Config,
    LNTuningConfig,
    PeftConfig,
    PrefixTuningConfig,
    TrainableTokensConfig,
    VeraConfig,
    get_peft_model,
    get_peft_model_state_dict,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

from hub.bases import Base
from hub.engine.readers.spelling import adapter_name, canonical_name
from hub.errors import (
    AdapterBindingError,
    CorruptBlobError,
    IncompatibleAdapterError,
)
from hub.registry import Registry
from hub.registry.blobs import digest_of_files
from hub.registry.disk import file_sha256

from .conftest import ENDS, TASK, Make, Take, edit_config, edit_tensors, lora

FORMS: dict[str, tuple[Callable[[], PeftConfig], str, str]] = {
    "LoRA": (lora, "lora", ""),
    "LoRA, expressions": (
        lambda: lora(
            target_modules=r".*(decoder|encoder)\.layers\.\d\..*(q_proj|fc1)",
            exclude_modules=r".*encoder_attn.*", rank_pattern={r".*fc\d": 3, "q.proj": 2},
            alpha_pattern={"self_attn.q_proj": 20, ".*": 4}, use_rslora=True,
        ), "lora", "",
    ),
    "LoRA, all linears": (lambda: lora(target_modules="all-linear"), "lora", ""),
    "LoRA, some layers": (lambda: lora(layers_to_transform=[1]), "lora", ""),
    "DoRA": (lambda: lora(use_dora=True), "lora", ""),
    "LoRA and its biases": (lambda: lora(bias="lora_only"), "lora", ""),
    "LoRA and all biases": (lambda: lora(bias="all"), "lora", ""),
    "orthogonal": (lambda: lora(init_lora_weights="orthogonal"), "lora", ""),
    "MiCA": (lambda: lora(init_lora_weights="mica"), "lora", ""),
    "PiSSA": (lambda: lora(init_lora_weights="pissa"), "lora", "PISSA"),
    "PiSSA, patterns": (
        lambda: lora(
            init_lora_weights="pissa", rank_pattern={"fc1": 2}, alpha_pattern={"q_proj": 3},
            use_rslora=True,
        ), "lora", "PISSA",
    ),
    "PiSSA, DoRA": (lambda: lora(init_lora_weights="pissa", use_dora=True), "lora", "PISSA"),
    "OLoRA": (lambda: lora(init_lora_weights="olora", lora_alpha=4), "lora", "OLORA"),
    "AdaLoRA": (
        lambda: AdaLoraConfig(
            task_type=TASK, init_r=6, target_r=3, total_step=10, lora_alpha=5, target_modules=ENDS
        ), "lora", "ADALORA",
    ),
    "VeRA": (lambda: VeraConfig(task_type=TASK, r=8, target_modules=ENDS), "lora", "VERA"),
    "VeRA by its key": (
        lambda: VeraConfig(
            task_type=TASK, r=8, target_modules=ENDS, save_projection=False, projection_prng_key=7
        ), "lora", "VERA",
    ),
    "(IA)³": (
        lambda: IA3Config(
            task_type=TASK, target_modules=["k_proj", "fc2"], feedforward_modules=["fc2"]
        ), "ia3", "",
    ),
    "(IA)³, expressions": (
        lambda: IA3Config(
            task_type=TASK, target_modules=r".*(v_proj|fc2)", feedforward_modules=r".*fc\d"
        ), "ia3", "",
    ),
    "LN tuning": (
        lambda: LNTuningConfig(task_type=TASK, target_modules=["final_layer_norm"]),
        "ln_tuning", "",
    ),
    "rows of tokens": (
        lambda: TrainableTokensConfig(task_type=TASK, token_indices=list(range(900, 5, -3))),
        "tokens", "",
    ),
    "LoRA and rows of tokens": (
        lambda: lora(trainable_token_indices=list(range(5, 900, 4))), "lora", "",
    ),
    "LoRA and rows of tokens, by the table's name": (
        lambda: lora(trainable_token_indices={"shared": list(range(5, 900, 4))}), "lora", "",
    ),
    "prefix tuning": (
        lambda: PrefixTuningConfig(task_type=TASK, num_virtual_tokens=5), "prefix_tuning", ""
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using Rank-Stabilized", "ignore:Specified to not save")
@pytest.mark.parametrize("form", FORMS)
def test_what_peft_computes_is_what_is_published(
    make: Make, take: Take, registry: Registry, form: str
) -> None:
    config, method, folded = FORMS[form]
    folder = make(config())
    imported = take(folder, name="a", aliases=("prod",))
    assert imported.comparison.changed >= 3  # the adapter acts, so that equality means something
    assert imported.comparison.tokens > 50
    assert imported.comparison.drift < 1e-4
    manifest = imported.version.manifest
    assert (manifest.method, manifest.pair, manifest.budget) == (method, "en-ko", None)
    assert (manifest.corpus, manifest.recipe_digest, manifest.seed) == (None, None, None)
    assert manifest.origin is not None
    assert (manifest.origin.kind, manifest.origin.source) == ("imported", "theirs")
    assert manifest.origin.method == folded
    names = ("adapter_config.json", "adapter_model.safetensors")
    original = {name: str(file_sha256(folder / name)) for name in names}
    assert manifest.origin.digest == digest_of_files(original)
    lent = registry.folder(registry.resolve("a@prod"))
    values = load_file(lent / "adapter_model.safetensors").values()
    assert manifest.trainable_parameters == sum(tensor.numel() for tensor in values)
    stored = json.loads((lent / "adapter_config.json").read_text(encoding="utf-8"))
    assert stored["base_model_name_or_path"] == "tiny-m2m"
    assert (stored["peft_type"] == "LORA") == (method == "lora")


def test_adalora_after_pruning_keeps_its_own_ranks(make: Make, take: Take) -> None:
    """PEFT keeps the factor of the initial rank when it cuts a module to the pattern's."""
    config = AdaLoraConfig(
        task_type=TASK, init_r=4, target_r=2, total_step=10, lora_alpha=3, target_modules=["fc1"]
    )
    folder = make(config)
    tensors = load_file(folder / "adapter_model.safetensors")
    modules = sorted({name.rpartition(".lora_")[0] for name in tensors})
    kept = [[True, False, True, False], [False] * 4, [True] * 4, [False, True, True, True]]
    pattern = {}
    for module, mask in zip(modules, kept, strict=True):
        chosen = torch.tensor(mask)
        for part in ("lora_A", "lora_E"):
            tensors[f"{module}.{part}"] = tensors[f"{module}.{part}"][chosen].contiguous()
        tensors[f"{module}.lora_B"] = tensors[f"{module}.lora_B"][:, chosen].contiguous()
        pattern[f"{module.removeprefix('base_model.model.')}.lora_E"] = mask
    save_file(tensors, folder / "adapter_model.safetensors")
    imported = take(edit_config(folder, rank_pattern=pattern))
    assert imported.comparison.drift < 1e-4
    assert imported.comparison.changed >= 1
    assert imported.version.manifest.size == 4
    assert imported.version.manifest.trainable_parameters == sum(
        tensor.numel() for name, tensor in tensors.items() if not name.endswith("lora_E")
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", [form for form in FORMS if form != "prefix tuning"])
def test_names_within_a_model_are_those_that_peft_saves(model: Any, form: str) -> None:
    """A state dict saved without PEFT holds the adapter's name in every kind's own place."""
    wrapped = get_peft_model(copy.deepcopy(model), FORMS[form][0](), adapter_name="theirs")
    saved = get_peft_model_state_dict(wrapped, adapter_name="theirs")
    own = {name for name in wrapped.state_dict() if ".theirs" in name and "ranknum" not in name}
    read = {canonical_name(name) for name in own}
    assert {adapter_name(name) for name in own} == {"theirs"}
    assert read - saved.keys() <= {name for name in read if ".vera_" in name or ".token_ad" in name}
    # Those are shared by all layers, or by the modules that are tied to the token table.
    assert {name for name in saved if not name.endswith(".bias")} <= read


@pytest.mark.parametrize(
    "respell",
    [
        lambda name: name.replace(".model.model.", ".model._orig_mod.model.", 1),
        lambda name: name.replace("base_model.", "module.base_model.", 1),
        lambda name: name.replace("base_model.", "_fsdp_wrapped_module.base_model.", 1),
        lambda name: name.replace("base_model.model", "base_model.model.base_model.model", 1),
        lambda name: name.replace(".weight", ".default.weight"),
        lambda name: name.replace(".weight", ".my-adapter.weight"),
        lambda name: name.removeprefix("base_model.model."),
    ],
)
def test_names_that_others_write_are_read(
    make: Make, take: Take, registry: Registry, respell: Callable[[str], str]
) -> None:
    folder = make(lora())
    saved = load_file(folder / "adapter_model.safetensors")
    assert all(respell(name) != name for name in saved)
    edit_tensors(folder, lambda t: {respell(name): each for name, each in t.items()})
    imported = take(folder)
    stored = load_file(registry.folder(imported.version) / "adapter_model.safetensors")
    assert stored.keys() == saved.keys()
    assert all(torch.equal(stored[name], saved[name]) for name in saved)
    assert any("other names than PEFT's" in line for line in imported.told)


def test_two_tensors_of_one_meaning_are_refused(make: Make, take: Take) -> None:
    def doubled(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        name = min(tensors)
        return tensors | {name.replace("base_model.", "module.base_model.", 1): tensors[name]}

    with pytest.raises(AdapterBindingError, match=r"base_model.*module.base_model.*mean the same"):
        take(edit_tensors(make(lora()), doubled))


def test_tensors_of_two_adapters_are_refused(make: Make, take: Take) -> None:
    def two(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            name.replace(".weight", f".{adapter}.weight"): each.clone()
            for name, each in tensors.items()
            for adapter in ("one", "two")
        }

    with pytest.raises(AdapterBindingError, match="'one', 'two'"):
        take(edit_tensors(make(lora()), two))


def test_a_pickle_is_converted(make: Make, take: Take, registry: Registry) -> None:
    saved = load_file(make(lora(), name="safe") / "adapter_model.safetensors")
    folder = make(lora(), name="pickled", safe_serialization=False)
    assert (folder / "adapter_model.bin").exists()
    imported = take(folder)
    stored = load_file(registry.folder(imported.version) / "adapter_model.safetensors")
    assert stored.keys() == saved.keys()
    assert all(torch.equal(stored[name], saved[name]) for name in saved)
    assert "adapter_model.bin converted to adapter_model.safetensors" in imported.told


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch /tmp/was-run-by-a-test",))


def test_a_pickle_that_wants_to_run_code_is_refused(make: Make, take: Take) -> None:
    folder = make(lora())
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({"a": Hostile()}, protocol=2))
    with pytest.raises(CorruptBlobError, match=r"adapter_model\.bin.*(posix|os)\.system"):
        take(folder)
    assert not Path("/tmp/was-run-by-a-test").exists()


def test_safetensors_win_over_a_pickle_and_the_rest_is_told(make: Make, take: Take) -> None:
    folder = make(lora())
    (folder / "adapter_model.bin").write_bytes(b"never read")
    for name in ("README.md", "training_args.bin", "tokenizer.json"):
        (folder / name).write_bytes(b"{}")
    (folder / "checkpoint-500").mkdir()
    told = " ".join(take(folder).told)
    for name in ("adapter_model.bin", "training_args.bin", "tokenizer.json", "checkpoint-500/"):
        assert name in told
    assert "someone/tiny-m2m" not in told  # the same base by its name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_kept(
    make: Make, take: Take, registry: Registry, dtype: torch.dtype
) -> None:
    folder = edit_tensors(
        make(lora()), lambda t: {name: each.to(dtype) for name, each in t.items()}
    )
    version = take(folder).version
    stored = load_file(registry.folder(version) / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {dtype}


EMBEDDING = "base_model.model.model.shared.weight"


def test_a_copy_of_the_bases_own_table_is_left_out(make: Make, take: Take, model: Any) -> None:
    own = model.model.shared.weight.detach()
    imported = take(edit_tensors(make(lora()), lambda t: t | {EMBEDDING: own.clone()}))
    assert "1 tensors of the base itself, equal to its own, left out" in imported.told


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda own: own + 0.01, "the base's own weights, changed"),
        (lambda own: torch.cat([own, own[:1]]), "resized vocabulary"),
    ],
)
def test_another_table_than_the_bases_is_refused(
    make: Make, take: Take, model: Any, change: Callable[[Tensor], Tensor], words: str
) -> None:
    table = change(model.model.shared.weight.detach())
    folder = edit_tensors(make(lora()), lambda t: t | {EMBEDDING: table})
    with pytest.raises(AdapterBindingError, match=words):
        take(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("added_tokens.json", lambda size: {"<new>": size}),
        (
            "tokenizer_config.json",
            lambda size: {"added_tokens_decoder": {str(size): {"content": "<new>"}}},
        ),
    ],
)
def test_added_tokens_are_refused(
    make: Make, take: Take, base: Base, name: str, content: Callable[[int], Any]
) -> None:
    folder, size = make(lora()), base.dimensions.vocab_size
    (folder / name).write_text(json.dumps(content(size - 1)), encoding="utf-8")
    take(folder)
    (folder / name).write_text(json.dumps(content(size)), encoding="utf-8")
    with pytest.raises(IncompatibleAdapterError, match=f"'<new>' with id {size}"):
        take(folder)
