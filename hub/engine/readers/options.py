"""Options of PEFT configs that are known here: a later PEFT's may change what an adapter means."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from hub.errors import IncompatibleAdapterError

_EVERY: Final = (
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
    "inference_mode", "target_modules", "exclude_modules", "modules_to_save",
)  # fmt: skip
_LORA: Final = (
    *_EVERY, "r", "lora_alpha", "lora_dropout", "fan_in_fan_out", "bias", "use_rslora",
    "init_lora_weights", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern",
    "megatron_config", "megatron_core", "trainable_token_indices", "loftq_config", "eva_config",
    "corda_config", "lora_ga_config", "use_dora", "velora_config", "alora_invocation_tokens",
    "use_qalora", "qalora_group_size", "monteclora_config", "layer_replication", "runtime_config",
    "lora_bias", "target_parameters", "use_bdlora", "arrow_config", "kasa_config",
    "ensure_weight_tying",
)  # fmt: skip
KNOWN: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "LORA": frozenset(_LORA),
        "ADALORA": frozenset(
            (*_LORA, "target_r", "init_r", "tinit", "tfinal", "deltaT", "beta1", "beta2",
             "orth_reg_weight", "total_step")
        ),
        "VERA": frozenset(
            (*_EVERY, "r", "projection_prng_key", "save_projection", "vera_dropout", "d_initial",
             "fan_in_fan_out", "bias", "init_weights", "layers_to_transform", "layers_pattern")
        ),
        "IA3": frozenset((*_EVERY, "feedforward_modules", "fan_in_fan_out", "init_ia3_weights")),
        "LN_TUNING": frozenset(_EVERY),
        "TRAINABLE_TOKENS": frozenset((*_EVERY, "token_indices", "init_weights")),
    }
)  # fmt: skip
"""Of PEFT 0.21, by peft_type."""


def refuse_unknown(config: Mapping[str, Any]) -> None:
    """Refuse an option that is set and that PEFT 0.21 does not know.

    Raises:
        IncompatibleAdapterError: Names it.
    """
    known = KNOWN.get(str(config.get("peft_type")))
    for option, value in config.items() if known is not None else ():
        if known is not None and option not in known and value:
            raise IncompatibleAdapterError(
                f"{option}={value!r:.60} is not an option of PEFT 0.21, so what the adapter means "
                f"is not known (it was saved by PEFT {config.get('peft_version', '?')!s:.20}); "
                "train without it, or merge the adapter into a copy of its base and serve that "
                "folder as a base of its own",
                field=option[:60],
            )
