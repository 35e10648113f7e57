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
    LoraConfig,
    PeftConfig,
    PrefixTuningConfig,
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
    AdapterNotFoundError,
    CorruptBlobError,
    EqualityGateError,
    HubError,
    IncompatibleAdapterError,
    LanguageError,
)
from hub.registry import Registry
from hub.registry.blobs import digest_of_files
from hub.registry.disk import file_sha256
from hub.registry.exchange.importing import Imported

from .conftest import TASK, Make, edit_config, edit_tensors, make_base

Take = Callable[..., Imported]
ENDS = ["q_proj", "v_proj", "fc1"]


def lora(**options: Any) -> LoraConfig:
    return LoraConfig(task_type=TASK, **{"r": 4, "target_modules": ENDS, **options})


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
    assert read - saved.keys() <= {name for name in read if ".vera_" in name}  # shared, by layer
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
    "tokens": (
        with_config(trainable_token_indices=[1, 2]), IncompatibleAdapterError,
        "trainable_token_indices",
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
