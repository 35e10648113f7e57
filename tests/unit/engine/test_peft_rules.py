"""A PEFT config means here what it means to PEFT: where, with which rank, with which factor."""

from __future__ import annotations

import copy
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import NoMatchingPeftModuleError
from safetensors.torch import load_file, save_file

from hub.engine.engine import Engine
from hub.engine.families import find_family
from hub.engine.readers.expressions import MAX_EXPRESSIONS, Expressions
from hub.engine.readers.modules import ModuleRules
from hub.engine.requests import DecodingOptions
from hub.errors import AdapterBindingError, IncompatibleAdapterError

from .kinds import peft_warnings_ignored

SLOT = 1
TARGETS: tuple[Any, ...] = (
    ["q_proj"], ["q_proj", "v_proj"], ["fc1", "fc2"], ["self_attn.q_proj"], "all-linear",
    ["model.encoder.layers.0.fc1", "out_proj"], r".*decoder.*\.(q_proj|v_proj)",
    r"model\.(en|de)coder\.layers\.[01]\..*_attn\.[qk]_proj", r"(?i).*ENCODER.*Q_PROJ",
    r".*layers\.\d{1,2}\.fc\d", r".*(?<!encoder_attn)\.out_proj",
)  # fmt: skip
PATTERNS = (
    "q_proj", "self_attn.q_proj", "q.proj", "fc.", "_proj", "decoder", ".*", "layers.1.fc1",
    r".*decoder.*q_proj", r"^model.decoder.layers.0.encoder_attn.q_proj", "q_proj|v_proj",
    r"layers\.[01]\..*", "q_proj)|(v_proj", "model.encoder.layers.0.self_attn.q_proj",
    r"(?:en|de)coder\.layers\.\d+\.fc1", "Q_PROJ", "q_proj$", "", "self_attn", r"\w+_attn\.\w_proj",
)  # fmt: skip
EXCLUDED: tuple[Any, ...] = (
    None, ["k_proj"], ["model.encoder.layers.0.self_attn.q_proj"], r".*encoder_attn.*",
    ["encoder_attn.q_proj", "fc1"], "q_proj",
)  # fmt: skip
LAYERS: tuple[tuple[Any, Any], ...] = (
    (None, None), (0, None), ([1, 2], None), ([0], "layers"), ([0, 1], ["blocks", "layers"]),
    ([1], r"(en|de)coder.layers"), ([], None), ([7], None),
)  # fmt: skip


@pytest.fixture(scope="module")
def engine(lab: Any, base: Any) -> Engine:
    return lab.engine(base)


def random_options(seed: int) -> dict[str, Any]:
    draw = random.Random(seed)

    def numbers(highest: int) -> dict[str, int]:
        chosen = draw.sample(PATTERNS, draw.randint(0, 4))
        return {pattern: draw.randint(1, highest) for pattern in chosen}

    targets = draw.choice(TARGETS)
    layers, names = (None, None) if isinstance(targets, str) else draw.choice(LAYERS)
    return {
        "r": draw.randint(1, 5), "lora_alpha": draw.choice([1, 3, 16, 2.5]),
        "use_rslora": draw.random() < 0.3, "rank_pattern": numbers(6), "alpha_pattern": numbers(40),
        "target_modules": targets, "exclude_modules": draw.choice(EXCLUDED),
        "layers_to_transform": layers, "layers_pattern": names if layers is not None else None,
    }  # fmt: skip


def peft_sites(model: Any, folder: Path) -> dict[str, tuple[int, float]] | None:
    """Rank and factor by module as PEFT reads a saved config; None where it targets nothing."""
    config = LoraConfig.from_pretrained(folder)
    try:
        with peft_warnings_ignored():
            wrapped = get_peft_model(copy.deepcopy(model), config)
    except NoMatchingPeftModuleError:
        return None
    return {
        name.removeprefix("base_model.model."): (module.r["default"], module.scaling["default"])
        for name, module in wrapped.named_modules()
        if isinstance(module, LoraLayer)
    }


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_places_ranks_and_factors_are_pefts_on_random_configs(model: Any, tmp_path: Path) -> None:
    family = find_family(model.config.to_dict())
    linears = family.linear_modules(family.architecture(model.config.to_dict()))
    seen, empty, several = set(), 0, 0
    for seed in range(70):
        LoraConfig(task_type="SEQ_2_SEQ_LM", **random_options(seed)).save_pretrained(tmp_path)
        expected = peft_sites(model, tmp_path)
        config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
        rules = ModuleRules(config)
        found = {
            module: (
                rank := rules.value("rank_pattern", module, config["r"]),
                rules.value("alpha_pattern", module, config["lora_alpha"])
                / (math.sqrt(rank) if config["use_rslora"] else rank),
            )
            for module in linears
            if rules.targets(module)
        }
        assert found == (expected or {}), random_options(seed)
        empty += not found
        several += len(set(found.values())) > 1
        seen |= set(found.values())
    assert len(seen) > 40  # the configs differ, and so do sites within one
    assert several > 20
    assert 0 < empty < 40


def test_all_scales_reach_the_served_adapter(lab: Any, model: Any, base: Any) -> None:
    """Patterns that several match, a dot as any character, an expression: PEFT's logits."""
    folder = lab.lora(
        model, 21, targets=r".*(q_proj|v_proj|fc1)", magnitude=0.3,
        alpha_pattern={"q.proj": 1, "self_attn.q_proj": 40, r".*decoder.*fc\d": 3, "fc1": 20},
        rank_pattern={r"decoder\.layers\.\d\.fc1": 7, "v_proj": 2},
    )  # fmt: skip
    assert_equal_to_peft(lab, model, base, folder)


def assert_equal_to_peft(lab: Any, model: Any, base: Any, folder: Path) -> None:
    engine = lab.engine(base)
    engine.place(SLOT, engine.read_adapter(folder))
    requests = lab.forced(4, seed=8, slots=(SLOT,))
    plain = engine.forced_logits(lab.forced(4, seed=8))
    searches = lab.requests(3, 9, DecodingOptions(max_new_tokens=10), slots=(SLOT,))
    with lab.applied(model, folder) as reference:
        for request, own, base_own in zip(
            requests, engine.forced_logits(requests), plain, strict=True
        ):
            assert (own - base_own).abs().max() > 0.1
            torch.testing.assert_close(
                own, lab.reference_logits(reference, request), atol=1e-4, rtol=1e-5
            )
        for request, finished in zip(searches, engine.translate(searches), strict=True):
            expected, _ = lab.reference_output(reference, request)[0]
            assert finished.hypotheses[0].token_ids == expected


@pytest.mark.parametrize("start", [False, "gaussian", "orthogonal", "mica"])
def test_starts_that_keep_the_base_equal_peft(lab: Any, model: Any, base: Any, start: Any) -> None:
    assert_equal_to_peft(lab, model, base, lab.lora(model, 22, init_lora_weights=start))


def edited(folder: Path, **changes: Any) -> Path:
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("start", "remedy"),
    [
        ("pissa", "hub adapters import.*path_initial_model_for_weight_conversion"),
        ("pissa_niter_16", "path_initial_model_for_weight_conversion"),
        ("PiSSA", "path_initial_model_for_weight_conversion"),
        ("olora", "hub adapters import.*path_initial_model_for_weight_conversion"),
        ("OLoRA", "hub adapters import"),
        ("corda", "path_initial_model_for_weight_conversion"),
        ("lora_ga", "path_initial_model_for_weight_conversion"),
        ("loftq", "merge it into a copy of its base"),
        ("true", "does not know"),
        ("zeros", "does not know"),
        (7, "does not know"),
        ({}, "does not know"),
    ],
)
def test_starts_that_change_the_base_are_refused(
    lab: Any, model: Any, engine: Engine, start: Any, remedy: str
) -> None:
    folder = edited(lab.lora(model, 23), init_lora_weights=start)
    with pytest.raises(IncompatibleAdapterError, match=remedy) as caught:
        engine.read_adapter(folder)
    assert caught.value.field == "init_lora_weights"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"r": 3}, "r"),
        ({"rank_pattern": {"q_proj": 3}}, "rank_pattern"),
        ({"rank_pattern": {"q_proj": "4"}}, "rank_pattern"),
        ({"rank_pattern": {"q_proj": [True]}}, "rank_pattern"),
        ({"r": None}, "r"),
        ({"r": True}, "r"),
    ],
    ids=str,
)
def test_a_rank_that_the_tensors_contradict_is_refused(
    lab: Any, model: Any, engine: Engine, changes: dict[str, Any], field: str
) -> None:
    folder = edited(lab.lora(model, 24), **changes)
    with pytest.raises(IncompatibleAdapterError, match=r"has rank 4.*says") as caught:
        engine.read_adapter(folder)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target_modules": ["v_proj"]}, "q_proj.*leave out"),
        ({"exclude_modules": r".*decoder.*"}, "decoder.*leave out"),
        ({"layers_to_transform": [0]}, r"layers\.1.*leave out"),
        ({"target_modules": ["q_proj", "v_proj", "fc1"]}, "fc1.*missing.*targets that module"),
        ({"target_modules": []}, "leave out"),
    ],
    ids=str,
)
def test_tensors_and_targets_must_agree(
    lab: Any, model: Any, engine: Engine, changes: dict[str, Any], words: str
) -> None:
    folder = edited(lab.lora(model, 25), **changes)
    with pytest.raises(AdapterBindingError, match=words):
        engine.read_adapter(folder)


def test_a_tensor_outside_of_ia3s_targets_is_refused(lab: Any, model: Any, engine: Engine) -> None:
    from .kinds import ia3

    folder = edited(ia3(lab, model, 9, ["k_proj", "fc2"], ["fc2"]), target_modules=["k_proj"])
    with pytest.raises(AdapterBindingError, match=r"fc2.*leave out"):
        engine.read_adapter(folder)


@pytest.mark.parametrize(
    "pattern",
    [
        "(", "q_proj)", "*", r"\q", "a{2}{3}{", "(?P<x", "(?<x>a)", "(?R)", "q{e<=1}",
        "[[:alpha:]]",
        "(?:(?:a{99}){99}){99}", "a{1001}", "x" * 2001, "(" * 600, r"\p{L}", "[a--b]", "{}",
        "a{99999999999999999999}",
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_is_no_expression_is_refused_by_name(pattern: str) -> None:
    for option, value in (
        ("alpha_pattern", {pattern: 3}),
        ("target_modules", pattern),
        ("exclude_modules", pattern),
    ):
        rules = ModuleRules({"target_modules": ["q_proj"], option: value})
        with pytest.raises(IncompatibleAdapterError, match=option) as caught:
            both(rules)
        assert caught.value.field == option


def both(rules: ModuleRules) -> None:
    rules.targets("model.q_proj")
    rules.value("alpha_pattern", "model.q_proj", 1)


def test_a_hostile_expression_costs_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.engine.readers.expressions.SECONDS", 0.2)
    hostile = r"(?:\w|\w\w|\w\w\w|\.)+[^\w.]?(?=!)"
    with pytest.raises(IncompatibleAdapterError, match=r"target_modules.*takes over 0.2 s"):
        ModuleRules({"target_modules": hostile}).targets("model.decoder.layers.11.self_attn.q" * 3)


def test_the_number_of_expressions_is_limited() -> None:
    expressions = Expressions()
    for number in range(MAX_EXPRESSIONS):
        expressions.match("alpha_pattern", f"m{number}", f"m{number}$", "x")
    with pytest.raises(IncompatibleAdapterError, match="one of over 10,000"):
        expressions.match("alpha_pattern", "one_more", "one_more$", "x")


@pytest.mark.parametrize(
    "changes",
    [
        {"target_modules": {"q_proj": 1}}, {"target_modules": [1]}, {"exclude_modules": 5},
        {"layers_to_transform": "0"}, {"layers_to_transform": [True]}, {"layers_pattern": [1]},
        {"target_modules": "all-linear", "layers_to_transform": [0]}, {"rank_pattern": "q_proj"},
    ],
    ids=str,
)  # fmt: skip
def test_options_of_another_type_are_refused_by_name(
    lab: Any, model: Any, engine: Engine, changes: dict[str, Any]
) -> None:
    with pytest.raises(IncompatibleAdapterError) as caught:
        engine.read_adapter(edited(lab.lora(model, 27), **changes))
    assert caught.value.field in changes


@pytest.mark.parametrize(
    "spelled",
    ["lora_A.default.weight", "_orig_mod", "module", "base_model.model.base_model.model"],
)
def test_names_that_import_reads_are_refused_with_that_remedy(
    lab: Any, model: Any, engine: Engine, spelled: str
) -> None:
    folder = lab.lora(model, 28)
    path = folder / "adapter_model.safetensors"

    def respell(name: str) -> str:
        if spelled.startswith("lora_A"):
            return name.replace("lora_A.weight", spelled)
        return name.replace("base_model.model", f"base_model.model.{spelled}", 1)

    save_file({respell(name): tensor for name, tensor in load_file(path).items()}, path)
    with pytest.raises(AdapterBindingError, match="hub adapters import"):
        engine.read_adapter(folder)


def test_a_huge_config_is_refused(lab: Any, model: Any, engine: Engine) -> None:
    folder = edited(lab.lora(model, 29), revision="x" * (1 << 20))
    with pytest.raises(Exception, match=r"adapter_config\.json.*over 1,048,576 bytes"):
        engine.read_adapter(folder)
