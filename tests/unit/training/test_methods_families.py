"""Every method on a tiny random model of every family: counts, start, gradients, files, beams."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from hub.budget import ModelDimensions, Solution, count
from hub.errors import SettingsError
from training.loop.model import (
    adapter_files,
    adapter_tensors,
    attach_config,
    load_adapter,
    quiet_libraries,
    trainable,
)
from training.methods.catalog import METHODS
from training.methods.targets import FAMILIES, module_names

with quiet_libraries():
    from peft import PeftModel

D, HEADS, E, DEC, F, G, VOCAB = 16, 2, 2, 3, 24, 20, 50
SOURCE = torch.tensor([[5, 9, 11, 2], [7, 8, 2, 1]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
TARGET = torch.tensor([[2, 6, 12], [2, 30, 31]])
SIZE = 3

Options = Mapping[str, str | bool | int]
VARIANTS: tuple[tuple[str, Options], ...] = (
    ("bottleneck", {}),
    ("bottleneck", {"placement": "sublayer"}),
    ("bottleneck", {"placement": "sublayer", "norm": False, "activation": "gelu"}),
    ("lora", {}),
    ("lora", {"targets": "attention", "rslora": True}),
    ("lora", {"targets": "all-linear"}),
    ("lora", {"targets": "all-linear", "dora": True}),
    ("lora", {"targets": "qv", "dora": True}),
    ("prefix", {}),
    ("prefix", {"attentions": "decoder"}),
    ("prefix", {"reparametrised": True}),
    ("bitfit", {}),
    ("norms", {}),
    ("norms", {"norm_train": "both"}),
    ("ia3", {}),
    ("tokens", {}),
    ("lora", {"token_rows": 7}),
    ("bottleneck", {"token_rows": 7}),
    ("norms", {"token_rows": 7}),
    ("cross-attention", {}),
)
BART: dict[str, Any] = {
    "vocab_size": VOCAB, "d_model": D, "encoder_layers": E, "decoder_layers": DEC,
    "encoder_ffn_dim": F, "decoder_ffn_dim": G, "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS, "max_position_embeddings": 32, "init_std": 0.3,
    "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "pad_token_id": 1, "eos_token_id": 2,
    "bos_token_id": 0, "decoder_start_token_id": 2, "forced_eos_token_id": None,
}  # fmt: skip
# As many layers in both stacks: transformers makes T5's cache as long as the encoder.
T5: dict[str, Any] = {
    "vocab_size": VOCAB, "d_model": D, "d_kv": 6, "num_heads": HEADS, "d_ff": F, "num_layers": DEC,
    "num_decoder_layers": DEC, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
    "initializer_factor": 1.0,
}  # fmt: skip
MODELS: dict[str, Callable[[], nn.Module]] = {
    "m2m_100": lambda: M2M100ForConditionalGeneration(M2M100Config(**BART)),
    "mbart": lambda: MBartForConditionalGeneration(MBartConfig(**BART)),
    "bart": lambda: BartForConditionalGeneration(BartConfig(**BART)),
    "marian": lambda: MarianMTModel(MarianConfig(**BART)),
    "t5": lambda: T5ForConditionalGeneration(T5Config(**T5, feed_forward_proj="relu")),
    "mt5": lambda: MT5ForConditionalGeneration(MT5Config(**T5, feed_forward_proj="gated-gelu")),
}
T5_DIFFERENCES: dict[str, Any] = {
    "attention_width": 12, "biases": False, "norm_parameters": 1, "decoder_ffn": F,
    "encoder_layers": DEC,
}  # fmt: skip
# Where the families differ in what they have, by hand from their papers.
DIFFERENCES: dict[str, dict[str, Any]] = {
    "m2m_100": {},
    "mbart": {"embedding_norms": 2},
    "bart": {"embedding_norms": 2, "final_norms": 0},
    "marian": {"final_norms": 0},
    "t5": T5_DIFFERENCES,
    "mt5": T5_DIFFERENCES | {"feed_forward_linears": 3},
}
CASES = [
    pytest.param(family, name, options, id="-".join([family, name, *map(str, options.values())]))
    for family in MODELS
    for name, options in VARIANTS
    if not (name == "bitfit" and family in ("t5", "mt5"))
    if not (name == "tokens" and family == "marian")
]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_libraries():
        yield


def new_base(family: str) -> Any:
    torch.manual_seed(3)
    return MODELS[family]().eval()


def dimensions(family: str, model: nn.Module) -> ModelDimensions:
    plain: dict[str, Any] = {
        "d_model": D, "encoder_layers": E, "decoder_layers": DEC, "encoder_ffn": F,
        "decoder_ffn": G, "vocab_size": VOCAB, "max_positions": 32,
        "parameters": sum(p.numel() for p in model.parameters()),
    }  # fmt: skip
    return ModelDimensions(**(plain | DIFFERENCES[family]))


def adapted(base: Any, name: str, options: Options, size: int = SIZE) -> PeftModel:
    spec = METHODS[name]
    size = size if spec.size_name else 0
    family = base.config.model_type
    return attach_config(base, spec.build(size, options, family), seed=5).eval()


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found = model(input_ids=SOURCE, attention_mask=MASK, decoder_input_ids=TARGET).logits
    assert isinstance(found, Tensor)
    return found


def disturb(model: PeftModel, seed: int = 7) -> None:
    """Give the adapter values that act."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in trainable(model).values():
        parameter.data.add_(0.5 * torch.randn(parameter.shape, generator=generator))


def saved_count(model: PeftModel) -> int:
    return sum(tensor.numel() for tensor in adapter_tensors(model).values())


@pytest.mark.parametrize(("family", "name", "options"), CASES)
def test_count_start_and_disable(family: str, name: str, options: Options) -> None:
    base = new_base(family)
    spec, before = METHODS[name], logits(base)
    dims = dimensions(family, base)
    model = adapted(base, name, options)
    size = SIZE if spec.size_name else 0
    rows = int(options.get("token_rows", 0))
    own = count(name, size, dims, spec.variant(spec.complete(options)))
    assert saved_count(model) == own + rows * D
    assert spec.solve(dims, spec.complete(options), budget=None, size=size) == (
        Solution(size, own + rows * D, (own + rows * D) / dims.parameters)
    )
    if not options.get("reparametrised"):
        assert saved_count(model) == sum(p.numel() for p in trainable(model).values())
    assert torch.equal(logits(model), before) == (name != "prefix")
    assert (spec.start == "the base, to the last bit") == (name != "prefix")
    disturb(model)
    assert not torch.allclose(logits(model), before, atol=1e-3)
    with model.disable_adapter():
        assert torch.equal(logits(model), before)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("family", "name", "options"), CASES)
def test_gradients_reach_every_parameter_and_no_other(
    family: str, name: str, options: Options, checkpointing: bool
) -> None:
    model = adapted(new_base(family), name, options, size=8)
    disturb(model)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
    model(
        input_ids=SOURCE, attention_mask=MASK, decoder_input_ids=TARGET, use_cache=False
    ).logits.square().sum().backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    # A bias of the keys shifts all scores of a query alike: its gradient is zero but for rounding.
    unmoved = {n for n in trainable(model) if "k_proj" in n and "bias" in n}
    assert reached | unmoved == set(trainable(model))
    assert all(p.grad is not None for p in trainable(model).values())


@pytest.mark.parametrize(("family", "name", "options"), CASES)
def test_peft_saves_and_loads_without_a_difference(
    family: str, name: str, options: Options, tmp_path: Path
) -> None:
    model = adapted(new_base(family), name, options)
    disturb(model)
    wanted = logits(model)
    model.save_pretrained(tmp_path / "peft")
    loaded = PeftModel.from_pretrained(new_base(family), tmp_path / "peft").eval()
    assert float((logits(loaded) - wanted).abs().max()) == 0.0
    ours = tmp_path / "ours"
    ours.mkdir()
    for file, content in adapter_files(model, "somewhere").items():
        (ours / file).write_bytes(content)
    reopened = PeftModel.from_pretrained(new_base(family), ours).eval()
    assert float((logits(reopened) - wanted).abs().max()) == 0.0
    names = load_file(ours / "adapter_model.safetensors")
    assert all(each.startswith("base_model.model.") for each in names)
    assert not [each for each in names if "default" in each or "network" in each]


# PEFT 0.21 itself fails in the forward pass after a second adapter of trainable tokens alone.
@pytest.mark.parametrize(
    ("family", "name", "options"), [case for case in CASES if case.values[1] != "tokens"]
)
def test_two_adapters_on_one_model(
    family: str, name: str, options: Options, tmp_path: Path
) -> None:
    model = adapted(new_base(family), name, options)
    disturb(model)
    first = logits(model)
    spec = METHODS[name]
    size = SIZE + 1 if spec.size_name else 0
    rows = spec.rows(size, options)
    others = tuple(range(VOCAB - rows, VOCAB))  # PEFT lets adapters share no token
    model.add_adapter("two", spec.build(size, options, family, others))
    model.eval()
    assert torch.equal(logits(model), first)
    model.set_adapter("two")
    assert all(".two" in each for each in trainable(model))
    disturb(model, 9)
    assert not torch.allclose(logits(model), first, atol=1e-3)
    model.set_adapter("default")
    assert torch.equal(logits(model), first)
    model.delete_adapter("two")
    assert torch.equal(logits(model), first)


@pytest.mark.parametrize(("family", "name", "options"), CASES)
def test_beams_generate_with_the_adapter(family: str, name: str, options: Options) -> None:
    base = new_base(family)
    arguments: dict[str, Any] = {
        "input_ids": SOURCE, "attention_mask": MASK, "max_new_tokens": 6, "num_beams": 3,
        "output_scores": True, "return_dict_in_generate": True,
    }  # fmt: skip
    plain = base.generate(**arguments)
    model = adapted(base, name, options)
    disturb(model)
    found = model.generate(**arguments)
    assert not torch.allclose(plain.sequences_scores, found.sequences_scores)
    # The cache of the loop and a single pass agree: greedy tokens are the arg-max of one pass.
    greedy = model.generate(
        input_ids=SOURCE, attention_mask=MASK, max_new_tokens=5, min_new_tokens=5, num_beams=1,
        do_sample=False,
    )  # fmt: skip
    with torch.no_grad():
        one = model(input_ids=SOURCE, attention_mask=MASK, decoder_input_ids=greedy[:, :-1]).logits
    one[..., model.config.eos_token_id] = -torch.inf
    assert torch.equal(one.argmax(-1), greedy[:, 1:])


@pytest.mark.parametrize(
    ("family", "name", "options"),
    [case for case in CASES if METHODS[str(case.values[1])].exports],
)
def test_what_is_said_to_merge_merges(family: str, name: str, options: Options) -> None:
    model = adapted(new_base(family), name, options)
    disturb(model)
    wanted = logits(model)
    merged = model.merge_and_unload().eval()
    assert not [each for each, _ in merged.named_modules() if "base_layer" in each]
    assert torch.allclose(logits(merged), wanted, atol=2e-4, rtol=1e-4)
    if name in ("norms", "cross-attention"):
        assert torch.equal(logits(merged), wanted)


@pytest.mark.parametrize("family", ["t5", "mt5"])
def test_no_biases_no_bitfit(family: str) -> None:
    with pytest.raises(SettingsError, match="no biases"):
        METHODS["bitfit"].build(0, {}, family)
    assert not [n for n, _ in new_base(family).named_parameters() if n.endswith(".bias")]


@pytest.mark.parametrize("family", MODELS)
def test_the_table_of_names_leaves_out_no_norm_and_no_bias(family: str) -> None:
    import re

    names, base = module_names(family), new_base(family)
    norms = {n for n, m in base.named_modules() if "norm" in type(m).__name__.lower()}
    assert norms == {n for n, _ in base.named_modules() if re.fullmatch(names.norms, n)}
    biased = {n.removesuffix(".bias") for n, _ in base.named_parameters() if n.endswith(".bias")}
    matched = {n for n, _ in base.named_modules() if names.biased and re.fullmatch(names.biased, n)}
    assert biased == matched


def test_an_unknown_family_is_refused_with_those_known() -> None:
    with pytest.raises(SettingsError, match=r"'llama'.*m2m_100, mbart"):
        module_names("llama")
    assert set(FAMILIES) == set(MODELS)


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_prefix_is_what_its_formula_says(family: str, attention: str) -> None:
    """The first decoder step's self-attention by hand, from the projections' outputs."""
    base = new_base(family)
    base.set_attn_implementation(attention)
    model = adapted(base, "prefix", {"attentions": "decoder"})
    disturb(model)
    module = next(m for m in model.modules() if type(m).__name__ == "PrefixLayer")
    inner, names = module.base_layer, module_names(family)
    seen: dict[str, Tensor] = {}
    for name in (names.query, names.key, names.value, names.output):
        getattr(inner, name).register_forward_hook(
            lambda m, args, out, name=name: seen.update({name: out, f"{name}-in": args[0]})
        )
    logits(model)
    q, k, v = (seen[name] for name in (names.query, names.key, names.value))
    bias = torch.zeros(1, HEADS, 3, 3)
    if family in ("t5", "mt5"):
        bias = inner.compute_bias(3, 3)
    head = q.shape[-1] // HEADS
    scale = 1.0 if family in ("t5", "mt5") else head**-0.5
    expected = torch.empty_like(q)
    for row, h, t in ((r, h, t) for r in range(2) for h in range(HEADS) for t in range(3)):
        part = slice(h * head, (h + 1) * head)
        keys = torch.cat([module.prefix_key["default"][:, part], k[row, : t + 1, part]])
        values = torch.cat([module.prefix_value["default"][:, part], v[row, : t + 1, part]])
        scores = keys @ q[row, t, part] * scale
        scores[SIZE:] += bias[0, h, t, : t + 1]
        expected[row, t, part] = scores.softmax(0) @ values
    assert torch.allclose(seen[f"{names.output}-in"], expected, atol=1e-4)


def test_reparametrised_prefix_trains_a_network_and_keeps_keys_and_values(tmp_path: Path) -> None:
    base = new_base("m2m_100")
    model = adapted(base, "prefix", {"reparametrised": True})
    assert all("prefix_network" in each for each in trainable(model))
    disturb(model)
    wanted = logits(model)
    for file, content in adapter_files(model, "b").items():
        (tmp_path / file).write_bytes(content)
    disturb(model, 8)
    assert not torch.equal(logits(model), wanted)
    load_adapter(model, tmp_path)
    assert torch.equal(logits(model), wanted)
    assert not [n for n, _ in model.named_parameters() if "prefix_network" in n]


def test_prefix_refuses_an_attention_it_cannot_enter() -> None:
    base = new_base("m2m_100")
    base.config._attn_implementation = "flex_attention"
    with pytest.raises(ValueError, match="eager or sdpa"):
        adapted(base, "prefix", {})


@pytest.mark.parametrize("name", ["bottleneck", "prefix", "bitfit", "norms", "cross-attention"])
def test_adapter_names_are_refused_not_ignored(name: str) -> None:
    model = adapted(new_base("m2m_100"), name, {})
    with pytest.raises(ValueError, match="serving engine"):
        model(
            input_ids=SOURCE,
            attention_mask=MASK,
            decoder_input_ids=TARGET,
            adapter_names=["default", "__base__"],
        )


def test_float32_adapters_on_a_bfloat16_base() -> None:
    for name, options in VARIANTS:
        base = copy.deepcopy(new_base("m2m_100")).to(torch.bfloat16)
        model = adapted(base, name, options)
        assert {p.dtype for p in trainable(model).values()} == {torch.float32}, name
        assert logits(model).dtype == torch.bfloat16, name
