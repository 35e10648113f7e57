"""A frozen base in few bits to train on (QLoRA, Dettmers et al. 2023, arXiv 2305.14314).

The linears inside the layers become bitsandbytes' own modules; embeddings, norms, the vocabulary
projection and the adapter stay as they are. Gradients pass through the quantized weights to the
adapter and change nothing else. The budget stays a fraction of the *unquantized* base.

An adapter is not served on the base that it was trained on: the serving engine quantizes in its own
way, or not at all. So two things are asked of it. The serving engine must reproduce transformers
and PEFT token for token on the *unquantized* base, as for every adapter: that the file is read
rightly has no tolerance. And the adapter must be as good off its quantized base as on it: its dev
loss may rise by `LOSS_TOLERANCE` at most.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from hub.errors import EqualityGateError, SettingsError
from training.loop.batching import Example
from training.loop.loss import Layout, collate, smoothed_loss
from training.loop.model import quiet_libraries
from training.loop.onednn import train_without_onednn
from training.loop.precision import train_in_bfloat16

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from training.recipe import Recipe

LOSS_TOLERANCE: Final = 0.1
"""Nats per target token by which the dev loss may rise on the unquantized base."""
OUTLIERS_FROM: Final = 6.0
"""LLM.int8 (arXiv 2208.07339): columns of activations from here on are kept in 16 bits."""
NF4_BLOCK: Final = 64
_CHATTY: Final = "bitsandbytes.autograd._functions"
"""Says at every int8 product of float32 that it is rounded to float16."""


def quantize_for(recipe: Recipe, model: PreTrainedModel, device: str) -> None:
    """Quantize a base as a recipe wants it; the vocabulary projection keeps the precision.

    Raises:
        SettingsError: Nothing of the base could be quantized.
    """
    half = recipe.precision == "bfloat16"
    with quiet_libraries():
        compute = torch.bfloat16 if half else torch.float32
        quantize_base(model, recipe.quantize, compute=compute, device=device)
    logging.getLogger(_CHATTY).setLevel(logging.ERROR)
    if half:
        train_in_bfloat16(model)


def quantize_base(model: Any, numbers: str, *, compute: torch.dtype, device: str) -> None:
    """Replace the linears of a base by quantized ones on a device, in place.

    With nf4, linears whose inputs are no multiple of 64 stay as they are: bitsandbytes 0.50.2
    unpacks them wrongly on a CPU.

    Args:
        model: A frozen float32 base on the CPU, no adapter in it yet.
        numbers: nf4 or int8.
        compute: Of nf4's products; int8's are int8's own.
        device: Where the quantized weights go.

    Raises:
        SettingsError: Nothing of the base could be quantized.
    """
    train_without_onednn(model)
    output = model.get_output_embeddings()
    chosen = [
        (name, module)
        for name, module in model.named_modules()
        if type(module) is nn.Linear
        and module is not output
        and (numbers == "int8" or module.in_features % NF4_BLOCK == 0)
    ]
    if not chosen:
        raise SettingsError(
            f"--quantize {numbers}: no linear of the base has inputs of a multiple of {NF4_BLOCK}; "
            "use --quantize int8 or none",
            field="quantize",
        )
    for name, module in chosen:
        made = _nf4(module, compute, device) if numbers == "nf4" else _int8(module, device)
        model.set_submodule(name, made)
    # What PEFT goes by, to put its own quantized layers around these.
    model.is_loaded_in_4bit = numbers == "nf4"
    model.is_loaded_in_8bit = numbers == "int8"


def _nf4(linear: nn.Linear, compute: torch.dtype, device: str) -> nn.Module:
    from bitsandbytes.nn import modules

    parts: Any = modules  # its types are not exported
    made = parts.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=compute,
        quant_type="nf4",
        device="meta",
    )
    # In evaluation it would repack its weights for a kernel that cannot go back to training.
    made.support_avx512bf16_for_cpu = False
    weight = linear.weight.detach().contiguous()
    made.weight = parts.Params4bit(weight, requires_grad=False, quant_type="nf4").to(device)
    return _with_bias(made, linear, device)


def _int8(linear: nn.Linear, device: str) -> nn.Module:
    from bitsandbytes.nn import modules

    parts: Any = modules
    made = parts.Linear8bitLt(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        has_fp16_weights=False,
        threshold=OUTLIERS_FROM,
        device="meta",
    )
    weight = linear.weight.detach().contiguous()
    made.weight = parts.Int8Params(weight, requires_grad=False, has_fp16_weights=False).to(device)
    return _with_bias(made, linear, device)


def _with_bias(made: Any, linear: nn.Linear, device: str) -> nn.Module:
    if linear.bias is not None:
        made.bias = nn.Parameter(linear.bias.detach().clone().to(device), requires_grad=False)
    module: nn.Module = made
    return module.train(linear.training)


@torch.no_grad()
def mean_loss(model: nn.Module, examples: Sequence[Example], layout: Layout, device: str) -> float:
    """Return the cross-entropy per target token of a few examples, without dropout."""
    model.eval()
    return float(smoothed_loss(model, collate(examples, layout, device), 0.0))


def check_loss(trained: float, served: float) -> None:
    """Refuse an adapter that is much worse off the quantized base that it was trained on.

    Args:
        trained: Dev loss on the quantized base, nats per target token.
        served: Dev loss on the unquantized one.

    Raises:
        EqualityGateError: Gives both losses and the tolerance.
    """
    if not served <= trained + LOSS_TOLERANCE:  # a loss that is no number too
        raise EqualityGateError(
            f"the adapter's dev loss is {trained:.3f} on the quantized base that it was trained on "
            f"and {served:.3f} on the base itself, more than {LOSS_TOLERANCE} higher; it was not "
            "published. Train without --quantize, or with int8"
        )
