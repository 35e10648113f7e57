"""Adapters of every kind, made by PEFT or to the format of our own plug-ins, and what they mean.

The meaning is computed on the transformers model by hooks, from the papers' formulas, and shares
no line with the engine.
"""

from __future__ import annotations

import copy
import json
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import IA3Config, LNTuningConfig, PrefixTuningConfig, get_peft_model
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

PREFIX = "base_model.model."
ATTENTIONS = {"encoder_self": "encoder", "decoder_self": "decoder", "cross": "decoder"}


@contextmanager
def peft_warnings_ignored() -> Iterator[None]:
    """PEFT 0.21 asks transformers 5 for an attribute by its old name, and knows no LayerNorm."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        warnings.filterwarnings("ignore", message="Unsupported layer type.*LayerNorm.*")
        yield


def save_peft(
    lab: Any, model: Any, config: Any, seed: int, change: Callable[[str, Tensor, Tensor], Tensor]
) -> Path:
    """Wrap, set every trainable value to `change(name, value, noise)`, and save by PEFT."""
    torch.manual_seed(seed)
    with peft_warnings_ignored():
        wrapped = get_peft_model(copy.deepcopy(model), config)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(change(name, parameter, torch.randn_like(parameter)))
    folder: Path = lab.fresh("peft")
    wrapped.save_pretrained(folder)
    return folder


def ia3(lab: Any, model: Any, seed: int, targets: Any, inputs: Any) -> Path:
    config = IA3Config(
        task_type="SEQ_2_SEQ_LM", target_modules=targets, feedforward_modules=inputs
    )  # fmt: skip
    return save_peft(lab, model, config, seed, lambda name, value, noise: 1 + 0.5 * noise)


def ln_tuning(lab: Any, model: Any, seed: int, targets: Any) -> Path:
    config = LNTuningConfig(task_type="SEQ_2_SEQ_LM", target_modules=targets)
    return save_peft(lab, model, config, seed, lambda name, value, noise: value + 0.3 * noise)


def prefix_tuning(lab: Any, model: Any, seed: int, length: int, **options: Any) -> Path:
    settings = {
        "num_layers": model.config.decoder_layers,
        "num_attention_heads": model.config.decoder_attention_heads,
    } | options
    config = PrefixTuningConfig(
        task_type="SEQ_2_SEQ_LM", num_virtual_tokens=length, **settings
    )  # fmt: skip
    return save_peft(lab, model, config, seed, lambda name, value, noise: noise)


def dora(lab: Any, model: Any, seed: int, **options: Any) -> Path:
    from peft import LoraConfig

    def change(name: str, value: Tensor, noise: Tensor) -> Tensor:
        if "magnitude" in name:
            return value * (1 + 0.3 * noise)
        return 0.2 * noise

    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "fc1"]} | options
    config = LoraConfig(task_type="SEQ_2_SEQ_LM", use_dora=True, **settings)
    return save_peft(lab, model, config, seed, change)


def bitfit(lab: Any, model: Any, seed: int, pattern: str = ".*", magnitude: float = 0.3) -> Path:
    """Shifts of all biases whose module matches, norms and last norms included."""
    torch.manual_seed(seed)
    tensors = {
        f"{PREFIX}{path}.bitfit_bias": torch.randn(module.bias.shape) * magnitude
        for path, module in model.named_modules()
        if getattr(module, "bias", None) is not None and re.fullmatch(pattern, path)
    }
    return write(lab, {"peft_type": "BITFIT"}, tensors)


def norms(lab: Any, model: Any, seed: int, train: str, pattern: str = ".*") -> Path:
    torch.manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.LayerNorm) and re.fullmatch(pattern, path):
            tensors[f"{PREFIX}{path}.norm_weight"] = torch.randn(module.weight.shape) * 0.3
            if train == "both":
                tensors[f"{PREFIX}{path}.norm_bias"] = torch.randn(module.bias.shape) * 0.3
    return write(lab, {"peft_type": "NORMS", "train": train}, tensors)


def sublayer_bottleneck(
    lab: Any, model: Any, seed: int, *, width: int, activation: str, norm: bool,
    pattern: str = r".*\.(self_attn|encoder_attn|fc2)", magnitude: float = 0.3,
) -> Path:  # fmt: skip
    torch.manual_seed(seed)
    d, tensors = model.config.d_model, {}
    for path, _ in model.named_modules():
        if re.fullmatch(pattern, path):
            shapes = {"down.weight": (width, d), "down.bias": (width,),
                      "up.weight": (d, width), "up.bias": (d,)}  # fmt: skip
            shapes |= {"norm.weight": (d,), "norm.bias": (d,)} if norm else {}
            for name, shape in shapes.items():
                values = torch.randn(shape) * magnitude + (name == "norm.weight")
                tensors[f"{PREFIX}{path}.bottleneck_{name}"] = values
    config = {"peft_type": "BOTTLENECK", "width": width, "activation": activation, "norm": norm,
              "placement": "sublayer"}  # fmt: skip
    return write(lab, config, tensors)


def tokens(lab: Any, model: Any, seed: int, ids: Sequence[int], magnitude: float = 0.35) -> Path:
    """Rows of the token table as PEFT saves them."""
    from peft import TrainableTokensConfig

    config = TrainableTokensConfig(task_type="SEQ_2_SEQ_LM", token_indices=list(ids))
    return save_peft(lab, model, config, seed, lambda name, value, noise: magnitude * noise)


def with_tokens(lab: Any, folder: Path, seed: int, ids: Sequence[int], d_model: int) -> Path:
    """The adapter of a folder and, in a new folder, rows of the token table beside it."""
    torch.manual_seed(seed)
    tensors = load_file(folder / "adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    name = f"{PREFIX}model.shared.token_adapter.trainable_tokens_delta"
    tensors[name] = torch.randn(len(ids), d_model) * 0.35
    return write(lab, config | {"trainable_token_indices": list(ids)}, tensors)


def with_table(lab: Any, model: Any, folder: Path) -> Any:
    """The base with an adapter's rows in its token table."""
    config = json.loads((folder / "adapter_config.json").read_text())
    saved = load_file(folder / "adapter_model.safetensors")
    table = model.get_input_embeddings().weight.data
    before = table.clone()
    table[config["token_indices"]] = saved[f"{PREFIX}model.shared.trainable_tokens_delta"]
    base = lab.base(model)
    table.copy_(before)
    return base


def kv_prefix(lab: Any, model: Any, seed: int, length: int, attentions: Sequence[str]) -> Path:
    torch.manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for name in attentions:
        layers = getattr(model.config, f"{ATTENTIONS[name]}_layers")
        module = "encoder_attn" if name == "cross" else "self_attn"
        for layer in range(layers):
            path = f"{PREFIX}model.{ATTENTIONS[name]}.layers.{layer}.{module}"
            for part in ("key", "value"):
                tensors[f"{path}.prefix_{part}"] = torch.randn(length, model.config.d_model)
    config = {"peft_type": "KV_PREFIX", "length": length, "attentions": list(attentions)}
    return write(lab, config, tensors)


def write(lab: Any, config: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    common = {"task_type": "SEQ_2_SEQ_LM", "base_model_name_or_path": "random"}
    path: Path = lab.write(config | common, tensors)
    return path


@contextmanager
def hooked(model: Any, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Iterator[Any]:
    """The model with an adapter of our own plug-ins."""
    modules: dict[str, dict[str, Tensor]] = {}
    undo: list[Callable[[], object]] = []
    for name, tensor in tensors.items():
        if name.endswith(".token_adapter.trainable_tokens_delta"):
            undo.append(_with_rows(model, config["trainable_token_indices"], tensor))
            continue
        path, _, part = name.removeprefix(PREFIX).rpartition(".")
        if config["peft_type"] == "BOTTLENECK":
            path, _, part = name.removeprefix(PREFIX).partition(".bottleneck_")
        modules.setdefault(path, {})[part] = tensor
    for path, parts in modules.items():
        module = model.get_submodule(path)
        if config["peft_type"] == "KV_PREFIX":
            module.forward = _prefixed(module, parts)
            undo.append(lambda module=module: module.__dict__.pop("forward"))
        else:
            hook = _HOOKS[config["peft_type"]](config, parts)
            undo.append(module.register_forward_hook(hook).remove)
    try:
        yield model
    finally:
        for step in undo:
            step()


def _with_rows(model: Any, ids: Sequence[int], rows: Tensor) -> Callable[[], object]:
    """Change the model's tied table, and return what changes it back."""
    table = model.get_input_embeddings().weight.data
    assert model.get_output_embeddings().weight.data.data_ptr() == table.data_ptr()
    before = table[list(ids)].clone()
    table[list(ids)] = rows
    return lambda: table.index_copy_(0, torch.tensor(ids), before)


def _bottleneck(config: Mapping[str, Any], parts: Mapping[str, Tensor]) -> Any:
    """`h + up(act(down(norm(h))))` on the output of a layer or sub-layer."""
    activation = {"relu": functional.relu, "gelu": functional.gelu}[config["activation"]]

    def add(h: Tensor) -> Tensor:
        x = h
        if config["norm"]:
            weight, bias = parts["norm.weight"], parts["norm.bias"]
            x = functional.layer_norm(x, x.shape[-1:], weight, bias, 1e-5)
        x = activation(functional.linear(x, parts["down.weight"], parts["down.bias"]))
        return h + functional.linear(x, parts["up.weight"], parts["up.bias"])

    def hook(_module: Any, _inputs: Any, out: Any) -> Any:
        return (add(out[0]), *out[1:]) if isinstance(out, tuple) else add(out)

    return hook


def _bitfit(_config: Mapping[str, Any], parts: Mapping[str, Tensor]) -> Any:
    return lambda _module, _inputs, out: out + parts["bitfit_bias"]


def _norms(_config: Mapping[str, Any], parts: Mapping[str, Tensor]) -> Any:
    def hook(module: Any, inputs: Any, _out: Any) -> Tensor:
        weight = module.weight + parts["norm_weight"]
        bias = module.bias + parts.get("norm_bias", 0)
        return functional.layer_norm(inputs[0], inputs[0].shape[-1:], weight, bias, module.eps)

    return hook


_HOOKS = {"BOTTLENECK": _bottleneck, "BITFIT": _bitfit, "NORMS": _norms}


def _prefixed(module: Any, parts: Mapping[str, Tensor]) -> Any:
    """Attention over the prefix and then the module's own entries, written out."""

    def split(x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], module.num_heads, module.head_dim).transpose(1, 2)

    def forward(
        hidden_states: Tensor, key_value_states: Tensor | None = None,
        past_key_values: Any = None, **_: Any,
    ) -> tuple[Tensor, None]:  # fmt: skip
        source = hidden_states if key_value_states is None else key_value_states
        keys, values = split(module.k_proj(source)), split(module.v_proj(source))
        if past_key_values is not None and key_value_states is None:
            cache = past_key_values.self_attention_cache
            keys, values = cache.update(keys, values, module.layer_idx)
        scores = split(module.q_proj(hidden_states)) @ keys.transpose(2, 3)
        if module.is_causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool)
            scores = scores.masked_fill(later.triu(keys.shape[2] - scores.shape[2] + 1), -math.inf)
        batch = len(hidden_states)
        before = split(parts["prefix_key"].expand(batch, -1, -1))
        ahead = split(module.q_proj(hidden_states)) @ before.transpose(2, 3)
        weights = (torch.cat([ahead, scores], -1) / math.sqrt(module.head_dim)).softmax(-1)
        values = torch.cat([split(parts["prefix_value"].expand(batch, -1, -1)), values], 2)
        mixed = (weights @ values).transpose(1, 2).reshape(hidden_states.shape)
        return module.out_proj(mixed), None

    return forward
