"""An adapter in transformers and PEFT themselves: what importing is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.errors import AdapterBindingError, CorruptBaseError, HubError, IncompatibleAdapterError
from hub.quiet import quiet_libraries

if TYPE_CHECKING:
    from torch import Tensor

    from hub.bases import Base

NAME: Final = "default"
_ROWS: Final = ".trainable_tokens_delta"


@dataclass(frozen=True)
class Reference:
    """A base with an adapter, computed by PEFT in float32.

    Attributes:
        model: The PEFT model.
        start: By LoRA module, A and B as PEFT starts them on this base; empty for kinds that
            have none.
    """

    model: Any
    start: Mapping[str, tuple[Tensor, Tensor]]


def load_transformers(base: Base) -> Any:
    """Return the base as transformers computes it, in float32.

    Raises:
        CorruptBaseError: transformers cannot load it.
    """
    import torch
    from transformers import AutoModelForSeq2SeqLM

    try:
        with quiet_libraries():
            model = AutoModelForSeq2SeqLM.from_pretrained(
                base.folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
            )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise CorruptBaseError(
            f"base {base.name!r} cannot be loaded by transformers: {reason:.200}", field="base"
        ) from error
    return model.eval()


def put_into_peft(model: Any, folder: Path, tensors: Mapping[str, Tensor]) -> Reference:
    """Return the base with the adapter in it, after checking that PEFT takes every tensor.

    Args:
        model: The base in transformers; PEFT puts its layers into it, and may change its weights.
        folder: Holds adapter_config.json.
        tensors: By the names that PEFT saves.

    Raises:
        IncompatibleAdapterError: PEFT itself cannot load the adapter.
        AdapterBindingError: PEFT leaves a tensor out, or has one that the adapter lacks.
    """
    from peft import PeftConfig, get_peft_model, set_peft_model_state_dict

    try:
        with quiet_libraries():
            config = PeftConfig.from_pretrained(str(folder))
            wrapped = get_peft_model(model, config).eval()
            start = _starts(wrapped)
            set_peft_model_state_dict(wrapped, dict(tensors))
            _check_taken(wrapped, tensors)
    except HubError:
        raise
    except Exception as error:  # PEFT raises whatever a config leads it to
        reason = (str(error).splitlines() or [""])[0]
        raise IncompatibleAdapterError(
            f"PEFT itself cannot load the adapter ({type(error).__name__}: {reason:.300}); save "
            "it again with the PEFT that trained it, or name the base it was trained on with "
            "--base",
            field="source",
        ) from error
    return Reference(wrapped.eval(), start)


def _starts(wrapped: Any) -> Mapping[str, tuple[Tensor, Tensor]]:
    """Return the LoRA factors before the adapter's own are read."""
    from peft.tuners.adalora import AdaLoraLayer
    from peft.tuners.lora import LoraLayer

    start: dict[str, tuple[Tensor, Tensor]] = {}
    for name, module in wrapped.named_modules():
        if isinstance(module, AdaLoraLayer) or not isinstance(module, LoraLayer):
            continue
        if NAME in module.lora_A:
            layer: Any = module
            down, up = layer.lora_A[NAME].weight, layer.lora_B[NAME].weight
            start[name] = down.detach().clone(), up.detach().clone()
    return start


def same(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have the same shape and values."""
    return one.shape == other.shape and bool((one.float() == other.float()).all())


def _check_taken(wrapped: Any, tensors: Mapping[str, Tensor]) -> None:
    """Check that what PEFT would save now is what it was given."""
    from peft import get_peft_model_state_dict

    held = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    for name, tensor in tensors.items():
        if name in held and same(held[name], tensor):
            continue
        if name in ("base_model.vera_A", "base_model.vera_B") and name not in held:
            continue  # PEFT makes them from the config's key; the comparison shows whether they fit
        raise AdapterBindingError(
            f"PEFT leaves the tensor {name!r} out of this base; the adapter is of another base, "
            "or its config does not mean that module"
        )
    rows = [tensor for name, tensor in tensors.items() if name.endswith(_ROWS)]
    for name in held:
        if name.endswith(_ROWS) and any(same(held[name], one) for one in rows):
            continue  # of a module that shares the token table
        if name not in tensors:
            raise AdapterBindingError(
                f"tensor {name!r} is missing from the adapter, whose config asks for it; save the "
                "adapter again"
            )
