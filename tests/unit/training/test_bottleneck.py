"""The bottleneck in PEFT: identity, names, save and load, generation, several adapters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import M2M100Config, M2M100ForConditionalGeneration

from training.loop.model import (
    adapter_files,
    attach_config,
    load_adapter,
    quiet_libraries,
    trainable,
)
from training.methods.catalog import METHODS

with quiet_libraries():
    from peft import PeftConfig, PeftModel
    from peft.utils import PeftType

    from training.methods import bottleneck
    from training.methods.bottleneck import BottleneckConfig

D, WIDTH, ENCODER, DECODER = 16, 3, 2, 3
SOURCE = torch.tensor([[5, 9, 11, 2], [7, 8, 2, 1]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
TARGET = torch.tensor([[2, 6, 12], [2, 30, 31]])


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_libraries():
        yield


@pytest.fixture
def base() -> M2M100ForConditionalGeneration:
    torch.manual_seed(3)
    config = M2M100Config(
        vocab_size=50,
        d_model=D,
        encoder_layers=ENCODER,
        decoder_layers=DECODER,
        encoder_ffn_dim=24,
        decoder_ffn_dim=20,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        max_position_embeddings=32,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        init_std=0.3,
    )
    return M2M100ForConditionalGeneration(config).eval()


@pytest.fixture
def make(base: M2M100ForConditionalGeneration) -> Callable[..., PeftModel]:
    def build(**changes: Any) -> PeftModel:
        bottleneck.register()
        config = BottleneckConfig(task_type="SEQ_2_SEQ_LM", **({"width": WIDTH} | changes))
        return attach_config(base, config, seed=5).eval()

    return build


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found = model(input_ids=SOURCE, attention_mask=MASK, decoder_input_ids=TARGET).logits
    assert isinstance(found, Tensor)
    return found


def disturb(model: PeftModel, seed: int = 7) -> None:
    """Give the adapter values that act."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in trainable(model).values():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))


def test_register_twice_and_peft_knows_the_name() -> None:
    bottleneck.register()
    bottleneck.register()
    assert PeftType("BOTTLENECK") is PeftType.BOTTLENECK  # type: ignore[attr-defined]
    assert list(PeftType).count("BOTTLENECK") == 1


def test_untrained_adapter_is_the_base_to_the_last_bit(
    base: M2M100ForConditionalGeneration, make: Callable[..., PeftModel]
) -> None:
    before = logits(base)
    model = make()
    assert torch.equal(logits(model), before)
    disturb(model)
    assert not torch.equal(logits(model), before)


def test_start_is_zero_up_and_small_varied_down(make: Callable[..., PeftModel]) -> None:
    tensors = {name: p.detach() for name, p in trainable(make(width=64)).items()}
    ups = [value for name, value in tensors.items() if "bottleneck_up" in name]
    downs = [value for name, value in tensors.items() if "down.default.weight" in name]
    assert ups
    assert all(not value.any() for value in ups)
    assert torch.cat(downs).std().item() == pytest.approx(0.02, rel=0.05)
    assert not torch.equal(downs[0], downs[1])


def test_computes_the_stated_formula(make: Callable[..., PeftModel]) -> None:
    model = make(activation="gelu")
    disturb(model)
    layer = model.base_model.model.model.decoder.layers[1]
    norm, down, up = (
        getattr(layer, f"bottleneck_{part}")["default"] for part in ("norm", "down", "up")
    )
    seen: dict[str, Tensor] = {}
    layer.base_layer.register_forward_hook(lambda *call: seen.update(before=call[2]))
    layer.register_forward_hook(lambda *call: seen.update(after=call[2]))
    logits(model)
    h = seen["before"]
    normed = (h - h.mean(-1, keepdim=True)) / (
        h.var(-1, unbiased=False, keepdim=True) + 1e-5
    ) ** 0.5
    hidden = (normed * norm.weight + norm.bias) @ down.weight.T + down.bias
    gelu = 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5))
    expected = h + gelu @ up.weight.T + up.bias
    assert torch.allclose(seen["after"], expected, atol=1e-4)
    assert not torch.allclose(seen["after"], h, atol=1e-2)


def test_every_layer_of_both_stacks_and_nothing_else(make: Callable[..., PeftModel]) -> None:
    model = make()
    layers = {name.split(".bottleneck_")[0] for name in trainable(model)}
    stacks = {"encoder": ENCODER, "decoder": DECODER}
    assert layers == {
        f"base_model.model.model.{stack}.layers.{i}"
        for stack, n in stacks.items()
        for i in range(n)
    }
    # (E+D)(2dr + r + d + 2d), by hand: 5 × (96 + 3 + 16 + 32)
    assert sum(p.numel() for p in trainable(model).values()) == 735


def test_tensor_names_on_disk(make: Callable[..., PeftModel], tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    names = set(load_file(tmp_path / "adapter_model.safetensors"))
    parts = ("norm.weight", "norm.bias", "down.weight", "down.bias", "up.weight", "up.bias")
    stacks = {"encoder": ENCODER, "decoder": DECODER}
    assert names == {
        f"base_model.model.model.{stack}.layers.{i}.bottleneck_{part}"
        for stack, n in stacks.items()
        for i in range(n)
        for part in parts
    }


def test_peft_save_and_load_differ_by_nothing(
    base: M2M100ForConditionalGeneration, make: Callable[..., PeftModel], tmp_path: Path
) -> None:
    untouched = M2M100ForConditionalGeneration(base.config).eval()
    untouched.load_state_dict(base.state_dict())
    model = make()
    disturb(model)
    model.save_pretrained(tmp_path / "peft")
    loaded = PeftModel.from_pretrained(untouched, tmp_path / "peft").eval()
    assert torch.equal(logits(loaded), logits(model))


def test_our_folder_loads_in_peft(
    base: M2M100ForConditionalGeneration, make: Callable[..., PeftModel], tmp_path: Path
) -> None:
    untouched = M2M100ForConditionalGeneration(base.config).eval()
    untouched.load_state_dict(base.state_dict())
    model = make(norm=False)
    disturb(model)
    for name, content in adapter_files(model, "somewhere").items():
        (tmp_path / name).write_bytes(content)
    assert PeftConfig.from_pretrained(tmp_path).norm is False
    assert torch.equal(logits(PeftModel.from_pretrained(untouched, tmp_path)), logits(model))


def test_load_adapter_restores_weights(make: Callable[..., PeftModel], tmp_path: Path) -> None:
    model = make()
    disturb(model, 1)
    wanted = logits(model)
    for name, content in adapter_files(model, "b").items():
        (tmp_path / name).write_bytes(content)
    disturb(model, 2)
    assert not torch.equal(logits(model), wanted)
    load_adapter(model, tmp_path)
    assert torch.equal(logits(model), wanted)


def test_disable_gives_the_base_back(
    base: M2M100ForConditionalGeneration, make: Callable[..., PeftModel]
) -> None:
    before = logits(base)
    model = make()
    disturb(model)
    assert not torch.equal(logits(model), before)
    with model.disable_adapter():
        assert torch.equal(logits(model), before)


def test_second_adapter_has_its_own_weights_and_shape(make: Callable[..., PeftModel]) -> None:
    model = make()
    disturb(model)
    first = logits(model)
    model.add_adapter("two", BottleneckConfig(width=7, norm=False, task_type="SEQ_2_SEQ_LM"))
    assert torch.equal(logits(model), first)
    model.set_adapter("two")
    assert {name.split(".")[-2] for name in trainable(model)} == {"two"}
    disturb(model, 9)
    second = logits(model)
    assert not torch.equal(second, first)
    model.set_adapter("default")
    assert torch.equal(logits(model), first)
    model.delete_adapter("two")
    assert torch.equal(logits(model), first)


def test_beam_search_generates(make: Callable[..., PeftModel]) -> None:
    model = make()
    options = {
        "max_new_tokens": 6,
        "num_beams": 3,
        "attention_mask": MASK,
        "return_dict_in_generate": True,
        "output_scores": True,
    }
    plain = model.generate(input_ids=SOURCE, **options)
    disturb(model)
    adapted = model.generate(input_ids=SOURCE, **options)
    assert adapted.sequences.shape[0] == SOURCE.shape[0]
    assert not torch.allclose(plain.sequences_scores, adapted.sequences_scores)


def test_only_the_adapter_gets_gradients_also_with_checkpointing(
    make: Callable[..., PeftModel],
) -> None:
    model = make()
    disturb(model)
    model.train()
    grads = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.zero_grad()
        torch.manual_seed(0)
        model(input_ids=SOURCE, decoder_input_ids=TARGET, use_cache=False).logits.sum().backward()
        grads.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert set(grads[0]) == set(trainable(model))
    for name, grad in grads[0].items():
        assert torch.allclose(grad, grads[1][name], atol=1e-4), name


def test_stays_float32_under_a_bfloat16_base(base: M2M100ForConditionalGeneration) -> None:
    bottleneck.register()
    config = BottleneckConfig(width=WIDTH, task_type="SEQ_2_SEQ_LM")
    model = attach_config(base.to(torch.bfloat16), config, seed=1)
    assert {p.dtype for p in trainable(model).values()} == {torch.float32}
    assert logits(model).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 0}, "width is 0"),
        ({"activation": "swish"}, "gelu, relu"),
        ({"placement": "stack"}, "layer and sublayer"),
    ],
)
def test_bad_configuration_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BottleneckConfig(**changes)


def test_catalog_builds_it() -> None:
    config = METHODS["bottleneck"].build(9, {"norm": False}, "m2m_100")
    assert (config.width, config.norm, config.activation) == (9, False, "relu")
