"""The training side's model: a transformers base with a PEFT adapter in it, and its files.

The adapter folder is written here and not by `PeftModel.save_pretrained`, because that leaves
Python sets in `adapter_config.json` in an order that changes from process to process, and a path
of this machine as the base's name. PEFT reads our folder as its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.errors import AdapterBindingError, CorruptBaseError
from hub.quiet import quiet_libraries as quiet_libraries
from training.methods.catalog import MethodSpec
from training.recipe import Recipe

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from hub.bases import Base

CONFIG_FILE: Final = "adapter_config.json"
WEIGHTS_FILE: Final = "adapter_model.safetensors"
TASK: Final = "SEQ_2_SEQ_LM"
_ROWS: Final = ".trainable_tokens_delta"


def load_base_model(
    base: Base, *, dropout: float, precision: str = "float32", frozen: bool = True
) -> PreTrainedModel:
    """Load a base in float32 for training, with `dropout` on its layers and nowhere else.

    Whole layers are not dropped either: that would leave their adapters untrained.

    Args:
        base: The base.
        dropout: Of every layer's residual branches.
        precision: Of the base's products while training: float32 or bfloat16.
        frozen: Whether the base's own weights stay as they are.

    Raises:
        CorruptBaseError: A weight file is damaged, or lacks a tensor that the model has.
    """
    with quiet_libraries():
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForSeq2SeqLM

        try:
            model, report = AutoModelForSeq2SeqLM.from_pretrained(
                base.folder,
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
                **_dropout_settings(base.family, dropout),
                attn_implementation=attention_for_training(),
            )
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise _corrupt(base, str(error).splitlines()[0]) from error
    missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if missing:
        raise _corrupt(base, f"tensor {missing[0]} is missing or of another shape")
    if base.has_own_output and _is_tied(model):
        raise _corrupt(base, "this release of transformers ties its output table; update it")
    _spare_attention(model)
    if precision == "bfloat16":
        from training.loop.precision import train_in_bfloat16

        train_in_bfloat16(model, frozen=frozen)
    elif frozen:
        _quicken_products(model)
    _spare_draws(model, base.family, dropout)
    return model.eval()  # type: ignore[no-any-return]


def _is_tied(model: PreTrainedModel) -> bool:
    output: nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    return output.weight is model.get_input_embeddings().weight


def _dropout_settings(family: str, dropout: float) -> dict[str, float]:
    """Return dropout under the family's own names; T5 has one rate, and no layer drop."""
    if family in ("t5", "mt5"):
        return {"dropout_rate": dropout}
    return {
        "dropout": dropout,
        "attention_dropout": 0.0,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
    }


def _spare_attention(model: nn.Module) -> None:
    """Take the one rate of T5 off its attention weights, where other families have their own."""
    for module in model.modules():
        if type(module).__name__.endswith("Attention") and isinstance(
            getattr(module, "dropout", None), float
        ):
            module.dropout = 0.0  # type: ignore[assignment]


def _quicken_products(model: nn.Module) -> None:
    """Let a frozen float32 base's products be oneDNN's, on a CPU where they can be."""
    from training.loop.devices import training_device
    from training.loop.onednn import has_onednn, train_with_onednn

    if training_device() == "cpu" and has_onednn():
        train_with_onednn(model)


def _spare_draws(model: nn.Module, family: str, dropout: float) -> None:
    """Let dropout be drawn fast, where there is any."""
    from training.loop.dropout import quicken_layers, quicken_modules

    quicken_modules(model)
    if dropout > 0 and family not in ("t5", "mt5"):
        quicken_layers(model)


def attention_for_training() -> str:
    """Return the attention that trains fastest here: fused attention's backward is slow on CPUs.

    Measured on the embedded base with masks: plain attention makes an update 1.2 times faster.
    """
    from training.loop.devices import training_device

    return "sdpa" if training_device() == "cuda" else "eager"


def _corrupt(base: Base, cause: str) -> CorruptBaseError:
    return CorruptBaseError(
        f"base {base.name!r} in {base.folder} cannot be loaded: {cause}; "
        "fetch or build the base again"
    )


def attach(
    model: PreTrainedModel, spec: MethodSpec, recipe: Recipe, pieces: Sequence[int] = ()
) -> PeftModel:
    """Put a fresh adapter into the base, its start drawn from the recipe's seed.

    The base's own parameters are frozen; the adapter's are float32 and the only trainable ones.
    `pieces` are the tokens whose rows of the token table are trained, where some are.
    """
    with quiet_libraries():
        family = str(model.config.model_type)
        config = spec.build(recipe.size, recipe.options, family, pieces)
    return attach_config(model, config, seed=recipe.seed)


def attach_config(model: PreTrainedModel, config: Any, *, seed: int) -> PeftModel:
    """Put the adapter that a PEFT configuration describes into the base."""
    with quiet_libraries():
        import torch
        from peft import get_peft_model

        from training.loop.dropout import quicken_modules
        from training.methods.tokens import quicken_rows

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            adapted: PeftModel = get_peft_model(model, config)
    quicken_modules(adapted)
    quicken_rows(adapted)
    return adapted


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trainable parameters by name, in the model's order."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def count_trainable(model: nn.Module) -> int:
    """Return how many numbers the adapter trains."""
    return sum(parameter.numel() for parameter in trainable(model).values())


def adapter_tensors(model: PeftModel) -> dict[str, Tensor]:
    """Return the adapter's tensors under the names they have on disk, on the CPU in float32.

    Rows of a tied token table come once, where PEFT has them for each module that shares it.
    """
    from peft.utils import get_peft_model_state_dict

    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    first = next((name for name in state if name.endswith(_ROWS)), "")
    return {
        name: tensor.detach().cpu().float().contiguous()
        for name, tensor in state.items()
        if name == first or not name.endswith(_ROWS)
    }


def adapter_files(model: PeftModel, base_name: str) -> dict[str, bytes]:
    """Return the adapter folder's two files as bytes; equal adapters give equal bytes."""
    from safetensors.torch import save

    return {
        CONFIG_FILE: config_bytes(model.peft_config["default"].to_dict(), base_name),
        WEIGHTS_FILE: save(adapter_tensors(model), metadata={"format": "pt"}),
    }


def config_bytes(config: Mapping[str, Any], base_name: str) -> bytes:
    """Return PEFT's configuration as canonical JSON."""
    plain = {key: _plain(value) for key, value in config.items()}
    plain |= {"base_model_name_or_path": base_name, "inference_mode": True}
    return (json.dumps(plain, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value


def load_adapter(model: PeftModel, folder: Path) -> None:
    """Put a folder's weights into the adapter of the same shape that the model already has.

    Raises:
        AdapterBindingError: A tensor is missing, unknown, or of another shape.
    """
    from peft.utils import set_peft_model_state_dict
    from safetensors.torch import load_file

    state = load_file(folder / WEIGHTS_FILE)
    own = {name: tensor.shape for name, tensor in adapter_tensors(model).items()}
    for name in sorted(own.keys() | state.keys()):
        if name not in own or name not in state or own[name] != state[name].shape:
            raise AdapterBindingError(
                f"tensor {name} of {folder} does not fit the adapter being trained"
            )
    set_peft_model_state_dict(model, state)
