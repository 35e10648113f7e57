"""From a size, options and a model family to a PEFT configuration, one function a method.

Nothing here imports torch or PEFT before one of the functions is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hub.errors import SettingsError
from training.methods.lora import lora_config
from training.methods.targets import ATTENTIONS, module_names

Options = Mapping[str, str | int | bool]
TASK: Final = "SEQ_2_SEQ_LM"


def bottleneck_config(width: int, options: Options, family: str) -> Any:
    """Return the configuration of a bottleneck adapter."""
    from training.methods import bottleneck

    bottleneck.register()
    names = module_names(family)
    placement = str(options["placement"])
    return bottleneck.BottleneckConfig(
        width=width,
        activation=str(options["activation"]),
        norm=bool(options["norm"]),
        placement=placement,
        target_modules=names.layers if placement == "layer" else names.sublayers,
        task_type=TASK,
    )


def low_rank_config(rank: int, options: Options, family: str) -> Any:
    """Return the configuration of a LoRA adapter."""
    return lora_config(
        rank,
        str(options["targets"]),
        family,
        rslora=bool(options["rslora"]),
        dora=bool(options["dora"]),
    )


def prefix_config(length: int, options: Options, family: str) -> Any:
    """Return the configuration of a prefix."""
    from training.methods import prefix

    prefix.register()
    kinds = list(ATTENTIONS) if options["attentions"] == "all" else ["decoder_self"]
    patterns = module_names(family).attentions
    return prefix.KVPrefixConfig(
        length=length,
        attentions=kinds,
        reparametrised=bool(options["reparametrised"]),
        target_modules="|".join(f"({patterns[kind]})" for kind in kinds),
        task_type=TASK,
    )


def bitfit_config(size: int, options: Options, family: str) -> Any:
    """Return the configuration of BitFit.

    Raises:
        SettingsError: The family has no biases.
    """
    from training.methods import bitfit

    bitfit.register()
    biased = module_names(family).biased
    if not biased:
        raise SettingsError(
            f"model type {family!r} has no biases to train; choose norms or another method",
            field="method",
        )
    return bitfit.BitFitConfig(target_modules=biased, task_type=TASK)


def norms_config(size: int, options: Options, family: str) -> Any:
    """Return the configuration of an adapter of the layer norms."""
    from training.methods import norms

    norms.register()
    return norms.NormsConfig(
        train=str(options["norm_train"]),
        target_modules=module_names(family).norms,
        task_type=TASK,
    )


def cross_attention_config(size: int, options: Options, family: str) -> Any:
    """Return the configuration of changes of the cross-attention."""
    from training.methods import cross_attention

    cross_attention.register()
    return cross_attention.CrossAttentionConfig(
        target_modules=module_names(family).cross_attention, task_type=TASK
    )


def ia3_config(size: int, options: Options, family: str) -> Any:
    """Return PEFT's configuration of (IA)³ on keys, values and the feed-forward's inner values."""
    from peft import IA3Config

    names = module_names(family)
    return IA3Config(
        target_modules=[names.key, names.value, names.feed_forward_out],
        feedforward_modules=[names.feed_forward_out],
        task_type=TASK,
    )


def tokens_config(rows: int, options: Options, family: str) -> Any:
    """Return PEFT's configuration of rows of the token table, no tokens named yet.

    Raises:
        SettingsError: PEFT has rows on this family only beside another kind.
    """
    from peft import TrainableTokensConfig

    if family == "marian":
        raise SettingsError(
            "PEFT puts rows of Marian's token table on it only beside another method; choose one, "
            "and give --token-rows with it",
            field="method",
        )
    return TrainableTokensConfig(target_modules=["shared"], task_type=TASK)


def no_config(size: int, options: Options, family: str) -> Any:
    """Refuse: full fine-tuning has no adapter.

    Raises:
        SettingsError: Always.
    """
    raise SettingsError("full fine-tuning trains the base itself; it has no adapter")
