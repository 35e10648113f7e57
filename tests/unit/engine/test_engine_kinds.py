"""Every kind of adapter: its variants equal PEFT, and what does not bind is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hub.engine.engine import Engine
from hub.engine.requests import DecodingOptions
from hub.errors import AdapterBindingError, DecodingError, IncompatibleAdapterError

from . import kinds

SLOT = 3
Change = Callable[[dict[str, Tensor]], object]
ALL_LINEARS = r".*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"


def same_input_factors(folder: Path, groups: Callable[[str], str | None]) -> Path:
    """Give linears that read one input the same factor: the first one's."""
    path = folder / "adapter_model.safetensors"
    tensors, chosen = load_file(path), {}
    for name in sorted(tensors):
        group = groups(name)
        if group is not None:
            tensors[name] = chosen.setdefault(group, tensors[name]).clone()
    save_file(tensors, path)
    return folder


def self_attention_of(name: str) -> str | None:
    module, _, linear = name.removesuffix(".ia3_l").rpartition(".")
    return module if module.endswith("self_attn") and linear != "out_proj" else None


def cross_inputs_of(name: str) -> str | None:
    return "encoder" if "encoder_attn.k_proj" in name or "encoder_attn.v_proj" in name else None


VARIANTS: dict[str, Callable[[Any, Any], Path]] = {
    "dora everywhere": lambda lab, model: kinds.dora(
        lab, model, 1, target_modules=ALL_LINEARS, use_rslora=True, lora_alpha=4
    ),
    "dora with patterns": lambda lab, model: kinds.dora(
        lab, model, 2, rank_pattern={"q_proj": 7}, alpha_pattern={"layers.1.fc1": 3}
    ),
    "ia3 of inputs": lambda lab, model: kinds.ia3(
        lab, model, 3, r".*(out_proj|fc1|fc2|encoder_attn\.q_proj)",
        r".*(out_proj|fc1|fc2|encoder_attn\.q_proj)",
    ),
    "ia3 of what q, k and v share": lambda lab, model: same_input_factors(
        kinds.ia3(
            lab, model, 4, r".*self_attn\.[qkv]_proj", ["q_proj", "k_proj", "v_proj"]
        ), self_attention_of,
    ),
    "ia3 of the encoder's output": lambda lab, model: same_input_factors(
        kinds.ia3(lab, model, 5, r".*encoder_attn\.[kv]_proj", ["k_proj", "v_proj"]),
        cross_inputs_of,
    ),
    "ia3 of every output": lambda lab, model: kinds.ia3(lab, model, 13, ALL_LINEARS, []),
    "prefix of more layers": lambda lab, model: kinds.prefix_tuning(lab, model, 7, 4, num_layers=5),
    "prefix by projection": lambda lab, model: kinds.prefix_tuning(
        lab, model, 8, 9, prefix_projection=True, encoder_hidden_size=16
    ),
    "prefix longer than a block": lambda lab, model: kinds.kv_prefix(
        lab, model, 9, 40, ("encoder_self", "cross")
    ),
    "last norms": lambda lab, model: kinds.norms(lab, model, 10, "both", r".*coder\.layer_norm"),
    "biases of norms": lambda lab, model: kinds.bitfit(lab, model, 11, r".*norm"),
    "biases of keys": lambda lab, model: kinds.bitfit(lab, model, 12, r".*[kv]_proj"),
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_equal_peft_and_hooks(lab: Any, model: Any, base: Any, variant: str) -> None:
    compare(lab, model, lab.engine(base), VARIANTS[variant](lab, model))


def test_prefix_tuning_of_an_even_number_of_layers_equals_peft(lab: Any) -> None:
    """There PEFT gives layers i and i + n / 2 the same vectors and drops half of them."""
    model = lab.model(seed=3, decoder_layers=4, encoder_layers=4, decoder_attention_heads=4)
    folder = kinds.prefix_tuning(lab, model, 1, 6)
    engine = lab.engine(lab.base(model))
    compare(lab, model, engine, folder)
    rows = engine.read_adapter(folder).prefixes[0].rows
    assert torch.equal(rows[0], rows[2])
    assert not torch.equal(rows[0], rows[1])


def compare(lab: Any, model: Any, engine: Engine, folder: Path) -> None:
    """The adapter acts, and acts as its reference does: logits, greedy and beam tokens."""
    engine.place(SLOT, engine.read_adapter(folder))
    requests = lab.forced(5, seed=8, slots=(SLOT,))
    plain = engine.forced_logits([replace(request, slot=0) for request in requests])
    searches = [
        lab.requests(3, seed=9, options=options, slots=(SLOT,))
        for options in (DecodingOptions(max_new_tokens=10), DecodingOptions(4, 10))
    ]
    with lab.applied(model, folder) as reference:
        own = engine.forced_logits(requests)
        for request, logits, base_logits in zip(requests, own, plain, strict=True):
            assert (logits - base_logits).abs().max() > 0.1
            expected = lab.reference_logits(reference, request)
            torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-5)
        for search in searches:
            for request, finished in zip(search, engine.translate(search), strict=True):
                expected_tokens, _ = lab.reference_output(reference, request)[0]
                assert finished.hypotheses[0].token_ids == expected_tokens


def test_every_kind_runs_in_bfloat16(lab: Any, zoo: Any) -> None:
    engine = zoo.engine(lab, "bfloat16")
    request = lab.forced(1, seed=21)[0]
    found = engine.forced_logits([replace(request, key=slot, slot=slot) for slot in zoo.slots])
    for slot in zoo.slots[1:]:
        assert bool(found[slot].isfinite().all())
        assert (found[slot] - found[0]).abs().max() > 0.1


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_slots_change_hands_between_kinds(lab: Any, zoo: Any, quantization: str) -> None:
    """Every adapter moves on to the slot of the next, and nothing of the former stays."""
    engine = zoo.engine(lab, quantization)
    placed, size = engine.adapter_bytes, len(zoo.folders)
    request = lab.forced(1, seed=61)[0]

    def logits() -> list[Tensor]:
        return [engine.forced_logits([replace(request, slot=slot)])[0] for slot in zoo.slots]

    before = logits()
    adapters = [engine.read_adapter(folder) for folder in zoo.folders]
    for index, adapter in enumerate(adapters):
        engine.place((index + 1) % size + 1, adapter)
    after = logits()
    assert torch.equal(after[0], before[0])
    for index in range(size):
        assert torch.equal(after[(index + 1) % size + 1], before[index + 1])
    assert engine.adapter_bytes == placed == sum(adapter.nbytes for adapter in adapters)
    for slot in zoo.slots[1:]:
        engine.clear(slot)
    assert engine.adapter_bytes == 0


@pytest.mark.parametrize("beam", [1, 4])
def test_a_row_on_used_caches_sees_no_prefix(lab: Any, zoo: Any, beam: int) -> None:
    """Prefix rows leave, and others take their places in the caches."""
    engine = zoo.engine(lab, "float32")
    prefixed = [slot for slot in zoo.slots[1:] if engine.read_adapter(zoo.folder(slot)).prefixes]
    assert len(prefixed) == 4
    options = DecodingOptions(beam_size=beam, max_new_tokens=8)
    healthy = lab.requests(4, seed=3, options=options, slots=(0, 1, *prefixed[:2]))
    expected = [one.hypotheses for one in zoo.engine(lab, "float32").translate(healthy)]
    for slots in ([prefixed[0]], prefixed[::-1], prefixed):
        engine.translate(lab.requests(8, seed=4, options=options, slots=slots))
        assert [one.hypotheses for one in engine.translate(healthy)] == expected


FOLDERS: dict[str, Callable[[Any, Any], Path]] = {
    "dora": lambda lab, model: kinds.dora(lab, model, 1),
    "ia3": lambda lab, model: kinds.ia3(lab, model, 1, ["k_proj", "fc2"], ["fc2"]),
    "ln": lambda lab, model: kinds.ln_tuning(lab, model, 1, ["self_attn_layer_norm"]),
    "norms": lambda lab, model: kinds.norms(lab, model, 1, "both"),
    "bitfit": lambda lab, model: kinds.bitfit(lab, model, 1, r".*(fc1|norm)"),
    "sublayer": lambda lab, model: kinds.sublayer_bottleneck(
        lab, model, 1, width=4, activation="relu", norm=True
    ),
    "kv": lambda lab, model: kinds.kv_prefix(lab, model, 1, 3, ("encoder_self", "cross")),
    "prefix": lambda lab, model: kinds.prefix_tuning(lab, model, 1, 3),
}  # fmt: skip


def pop(ending: str) -> Change:
    return lambda tensors: tensors.pop(min(name for name in tensors if name.endswith(ending)))


def put(name: str, *shape: int) -> Change:
    return lambda tensors: tensors.update({kinds.PREFIX + name: torch.ones(shape)})


def reshape(ending: str, *shape: int) -> Change:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors[min(name for name in tensors if name.endswith(ending))] = torch.ones(shape)

    return change


def poison(ending: str) -> Change:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors[min(name for name in tensors if name.endswith(ending))].fill_(float("nan"))

    return change


def twice(tensors: dict[str, Tensor]) -> None:
    """The same tensor with and without the prefix of PEFT's names."""
    name = min(tensors)
    tensors[name.removeprefix(kinds.PREFIX)] = tensors[name].clone()


LAYER = "model.decoder.layers.0"


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("dora", twice, "binds to no site"),
        ("dora", pop("magnitude_vector"), "lora_magnitude_vector' is missing"),
        ("dora", pop("lora_A.weight"), "lora_A.weight' is missing"),
        ("dora", put(f"{LAYER}.fc9.lora_magnitude_vector", 32), "fc9.*binds to no site"),
        ("dora", reshape("magnitude_vector", 5), r"magnitude_vector.*\(5,\).*\("),
        ("dora", poison("magnitude_vector"), "magnitude_vector.*not finite"),
        ("ia3", put(f"{LAYER}.self_attn_layer_norm.ia3_l", 32, 1), "layer_norm.ia3_l.*no site"),
        ("ia3", put(f"{LAYER}.fc2.ia3_m", 1, 48), "ia3_m.*binds to no site"),
        ("ia3", reshape("fc2.ia3_l", 32, 1), r"fc2.ia3_l.*\(32, 1\).*\(1, 48\)"),
        ("ia3", reshape("k_proj.ia3_l", 1, 32), r"k_proj.ia3_l.*\(1, 32\).*\(32, 1\)"),
        ("ia3", poison("fc2.ia3_l"), "ia3_l.*not finite"),
        ("ia3", reshape("ia3_l"), r"ia3_l' has shape \(\), expected two dimensions"),
        ("ln", pop("ln_tuning_layers.bias"), "ln_tuning_layers.bias' is missing"),
        ("ln", put(f"{LAYER}.fc1.ln_tuning_layers.weight", 48), "fc1.*binds to no site"),
        ("ln", reshape("ln_tuning_layers.weight", 31), r"weight.*\(31,\).*\(32,\)"),
        ("ln", poison("ln_tuning_layers.bias"), "bias.*not finite"),
        ("norms", pop("norm_weight"), "norm_weight' is missing"),
        ("norms", pop("norm_bias"), "norm_bias' is missing"),
        ("norms", put("model.shared.norm_weight", 32), "shared.*binds to no site"),
        ("norms", reshape("norm_bias", 33), r"norm_bias.*\(33,\).*\(32,\)"),
        ("norms", poison("norm_weight"), "norm_weight.*not finite"),
        ("bitfit", put(f"{LAYER}.bitfit_bias", 32), "layers.0.bitfit_bias.*no site"),
        ("bitfit", put("lm_head.bitfit_bias", 120), "lm_head.*no site"),
        ("bitfit", reshape("fc1.bitfit_bias", 32), r"fc1.*\(32,\).*\(48,\)"),
        ("bitfit", reshape("norm.bitfit_bias", 48), r"norm.*\(48,\).*\(32,\)"),
        ("bitfit", poison("bitfit_bias"), "bitfit_bias.*not finite"),
        ("sublayer", pop("bottleneck_norm.bias"), "norm.bias' is missing"),
        ("sublayer", put(f"{LAYER}.bottleneck_up.bias", 32), "layers.0.bottleneck.*no site"),
        ("sublayer", reshape("down.weight", 4, 30), r"down.weight.*\(4, 30\).*\(4, 32\)"),
        ("sublayer", poison("bottleneck_up.bias"), "up.bias.*not finite"),
        ("kv", pop("prefix_value"), "prefix_value' is missing"),
        ("kv", lambda t: [t.pop(name) for name in list(t) if "encoder.layers.1." in name],
         "encoder.layers.1.self_attn.prefix_key' is missing"),
        ("kv", put(f"{LAYER}.self_attn.prefix_key", 3, 32), "decoder.*self_attn.*no site"),
        ("kv", reshape("prefix_key", 4, 32), r"prefix_key.*\(4, 32\).*\(3, 32\)"),
        ("kv", poison("prefix_value"), "prefix_value.*not finite"),
        ("prefix", lambda t: t.update({"other": t.pop("prompt_embeddings")}), "'other'.*no site"),
        ("prefix", put("prompt", 2), "prompt.*binds to no site"),
        ("prefix", reshape("prompt_embeddings", 3, 190), r"\(3, 190\).*\(3, 192\)"),
        ("prefix", poison("prompt_embeddings"), "prompt_embeddings.*not finite"),
    ],
)  # fmt: skip
def test_what_does_not_bind_is_refused_by_name(
    lab: Any, model: Any, engine: Engine, kind: str, change: Change, words: str
) -> None:
    folder = FOLDERS[kind](lab, model)
    assert engine.read_adapter(folder).nbytes > 0
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(AdapterBindingError, match=words):
        engine.read_adapter(folder)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("dora", {"modules_to_save": ["lm_head"]}),
        ("ia3", {"modules_to_save": ["lm_head"]}),
        ("ia3", {"fan_in_fan_out": True}),
        ("ln", {"modules_to_save": ["lm_head"]}),
        ("norms", {"train": "bias"}),
        ("norms", {"train": ["weight"]}),
        ("norms", {"modules_to_save": ["lm_head"]}),
        ("bitfit", {"modules_to_save": ["lm_head"]}),
        ("kv", {"length": 0}),
        ("kv", {"length": 96}),
        ("kv", {"attentions": []}),
        ("kv", {"attentions": ["encoder_self", "elsewhere"]}),
        ("prefix", {"num_virtual_tokens": "3"}),
        ("prefix", {"num_attention_heads": 4}),
        ("prefix", {"num_transformer_submodules": 1}),
        ("prefix", {"num_layers": 2}),
        ("prefix", {"token_dim": 64}),
        ("prefix", {"peft_type": "PROMPT_TUNING"}),
        ("prefix", {"peft_type": "CROSS_ATTENTION"}),
    ],
    ids=str,
)
def test_what_is_not_served_is_refused_by_name(
    lab: Any, model: Any, engine: Engine, kind: str, config: dict[str, Any]
) -> None:
    folder = FOLDERS[kind](lab, model)
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(settings | config), encoding="utf-8")
    with pytest.raises(IncompatibleAdapterError) as caught:
        engine.read_adapter(folder)
    [(option, value)] = config.items()
    assert caught.value.field == option
    assert str(value) in caught.value.message
    if option in ("modules_to_save", "peft_type"):
        assert "merge it into a copy of its base" in caught.value.message
        assert "export it" in caught.value.message


@pytest.mark.parametrize(
    ("targets", "inputs", "words"),
    [
        (r".*decoder.*self_attn\.q_proj", ["q_proj"], r"decoder.0.self_attn.q.*self_attn.k"),
        (r".*decoder.*self_attn\.[qkv]_proj", ["q_proj", "k_proj", "v_proj"], "another factor"),
        (r".*encoder_attn\.[kv]_proj", ["k_proj", "v_proj"], r"cross_attn.k.*cross_attn.v"),
    ],
)
def test_factors_of_a_shared_input_must_agree(
    lab: Any, model: Any, engine: Engine, targets: str, inputs: list[str], words: str
) -> None:
    folder = kinds.ia3(lab, model, 1, targets, inputs)
    with pytest.raises(IncompatibleAdapterError, match=words) as caught:
        engine.read_adapter(folder)
    assert caught.value.field == "feedforward_modules"


def test_a_shifting_prefix_and_the_target_must_fit(lab: Any, model: Any, base: Any) -> None:
    engine = lab.engine(base)
    engine.place(1, engine.read_adapter(kinds.prefix_tuning(lab, model, 1, 7)))
    engine.place(2, engine.read_adapter(kinds.kv_prefix(lab, model, 1, 7, ("decoder_self",))))
    longest = DecodingOptions(max_new_tokens=95)
    [shifted] = lab.requests(1, seed=1, options=longest, slots=(1,))
    with pytest.raises(DecodingError, match=r"95.*prefix of 7.*at most 88") as caught:
        engine.admit([shifted])
    assert caught.value.field == "max_new_tokens"
    fitting = replace(shifted, options=DecodingOptions(max_new_tokens=88, min_new_tokens=88))
    beside = replace(shifted, key=1, slot=2, options=replace(longest, min_new_tokens=95))
    for finished, tokens in zip(engine.translate([fitting, beside]), (88, 95), strict=True):
        assert finished.error is None
        assert len(finished.hypotheses[0].token_ids) >= tokens - 1


COUNTS: dict[str, int] = {
    "dora": (2 * 2 + 2 * 3 + 2 * 3) * (4 * 32 + 4 * 32 + 32)
    + 2 * (4 * 32 + 4 * 64 + 64) + 3 * (4 * 32 + 4 * 48 + 48),
    "ia3": (2 + 3 + 3) * 32 + 2 * 64 + 3 * 48,
    "ln": 5 * 2 * 32,
    "norms": (2 * 2 + 3 * 3 + 2) * 2 * 32,
    "bitfit": 2 * 64 + 3 * 48 + (2 * 2 + 3 * 3 + 2) * 32,
    "sublayer": (2 * 2 + 3 * 3) * (4 * 32 + 4 + 4 * 32 + 32 + 2 * 32),
    "kv": (2 + 3) * 2 * 3 * 32,
    "prefix": 3 * 2 * 3 * 32,
}  # fmt: skip


@pytest.mark.parametrize("kind", COUNTS)
def test_parameters_are_counted_before_padding(
    lab: Any, model: Any, engine: Engine, kind: str
) -> None:
    assert engine.read_adapter(FOLDERS[kind](lab, model)).parameters == COUNTS[kind]


@pytest.fixture(scope="module")
def engine(lab: Any, base: Any) -> Engine:
    found: Engine = lab.engine(base)
    return found
